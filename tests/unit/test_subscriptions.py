"""Which webhooks hear of which DAGs, by value."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_webhook_notify.models import Level, Webhook
from airflow_webhook_notify.subscriptions import Subscriptions, Verdict, fingerprint, judge, subscribes

PLAIN = Webhook(id="ops", endpoint="https://hooks.example.com", secrets=())


def webhook(*dags: str, tags: tuple[str, ...] = (), level: Level = Level.DAG, id: str = "ops") -> Webhook:  # noqa: A002
    """A webhook with these filters."""
    return replace(PLAIN, id=id, dags=dags, tags=tags, level=level)


@pytest.mark.parametrize(
    ("dags", "tags", "dag_id", "dag_tags", "heard", "reason"),
    [
        ((), (), "etl", (), False, "it subscribes to nothing: DAGs and DAG tags are empty"),
        (("*",), (), "etl", (), True, "DAGs matches *"),
        (("etl",), (), "etl", (), True, "DAGs matches etl"),
        (("etl",), (), "etl_daily", (), False, "neither DAGs nor DAG tags name it"),
        (("etl_*", "ml_*"), (), "ml_train", (), True, "DAGs matches ml_*"),
        (("etl_?",), (), "etl_12", (), False, "neither DAGs nor DAG tags name it"),
        (("etl_[ab]",), (), "etl_b", (), True, "DAGs matches etl_[ab]"),
        (("ETL",), (), "etl", (), False, "neither DAGs nor DAG tags name it"),
        (("*", "!test_*"), (), "test_etl", (), False, "excluded by DAGs !test_*"),
        (("!test_*", "*"), (), "test_etl", (), False, "excluded by DAGs !test_*"),
        (("*", "!test_*"), (), "etl", (), True, "DAGs matches *"),
        (("!test_*",), (), "etl", (), True, "nothing excludes it, and nothing else is asked for"),
        (("! test_*",), (), "test_etl", (), False, "excluded by DAGs !test_*"),
        ((), ("prod",), "etl", ("prod", "nightly"), True, "DAG tags matches prod (tag prod)"),
        ((), ("pro*",), "etl", ("prod",), True, "DAG tags matches pro* (tag prod)"),
        ((), ("prod",), "etl", (), False, "neither DAGs nor DAG tags name it"),
        ((), ("Prod",), "etl", ("prod",), False, "neither DAGs nor DAG tags name it"),
        (("ml_*",), ("prod",), "etl", ("prod",), True, "DAG tags matches prod (tag prod)"),
        (("!etl",), ("prod",), "etl", ("prod",), False, "excluded by DAGs !etl"),
        (("!etl",), ("prod",), "other", (), False, "neither DAGs nor DAG tags name it"),
        (("*",), ("!draft",), "etl", ("draft",), False, "excluded by DAG tags !draft (tag draft)"),
        ((), ("!draft",), "etl", (), True, "nothing excludes it, and nothing else is asked for"),
    ],
)
def test_a_dag_is_heard_of_by_its_id_or_a_tag_unless_it_is_excluded(
    dags: tuple[str, ...], tags: tuple[str, ...], dag_id: str, dag_tags: tuple[str, ...], heard: bool, reason: str
) -> None:
    assert judge(webhook(*dags, tags=tags), dag_id, dag_tags) == Verdict(heard, reason)


def test_an_exclamation_mark_alone_excludes_nothing_and_subscribes_to_nothing() -> None:
    assert not subscribes(webhook("!"))
    assert subscribes(webhook("!x"))
    assert not judge(webhook("!"), "etl").heard


def test_subscriptions_tell_the_webhooks_of_a_dag_in_their_order() -> None:
    every, etl = webhook("*", id="every"), webhook("etl", id="etl")
    tagged, silent = webhook(tags=("prod",), id="tagged"), webhook(id="silent")
    subscriptions = Subscriptions([every, etl, tagged, silent], {"etl": ("prod",)})
    assert [item.id for item in subscriptions.webhooks] == ["every", "etl", "tagged"]
    assert [item.id for item in subscriptions.of("etl")] == ["every", "etl", "tagged"]
    assert [item.id for item in subscriptions.of("other")] == ["every"]


@pytest.mark.parametrize(
    ("level", "runs", "tasks"), [(Level.DAG, True, False), (Level.TASK, False, True), (Level.BOTH, True, True)]
)
def test_a_level_says_whether_runs_and_tasks_are_heard_of(level: Level, runs: bool, tasks: bool) -> None:
    subscriptions = Subscriptions([webhook("etl", level=level)])
    assert (subscriptions.hears_runs("etl"), subscriptions.hears_tasks("etl")) == (runs, tasks)
    assert not subscriptions.hears_runs("other")
    assert not subscriptions.hears_tasks("other")


def test_a_fingerprint_changes_with_what_is_subscribed_to_and_with_nothing_else() -> None:
    first = webhook("a", "b", tags=("t",))
    assert fingerprint(first) == fingerprint(replace(first, dags=("b", "a"), nickname="other", timeout=3))
    changed = [
        replace(first, dags=("a",)),
        replace(first, tags=()),
        replace(first, level=Level.BOTH),
        replace(first, topics=("job.execution.failed",)),
        replace(first, dags=("t",), tags=("a", "b")),
    ]
    assert len({fingerprint(first), *map(fingerprint, changed)}) == 1 + len(changed)
