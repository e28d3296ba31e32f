"""The `subscriptions` command: which webhooks hear of a DAG, and why.

Invariant: it judges by the very code that the watcher judges by.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator

from airflow_webhook_notify import connection
from airflow_webhook_notify.cli import terminal
from airflow_webhook_notify.cli.command import command
from airflow_webhook_notify.models import Webhook
from airflow_webhook_notify.subscriptions import judge


@command
def webhooks_subscriptions(args: Namespace) -> None:
    """Say of each webhook whether it hears of a DAG without a callback."""
    tags = _tags_of(args.dag_id)
    if tags is None:
        terminal.say(f"There is no DAG {args.dag_id!r} (yet), so DAG tags name it for nobody.")
    rows = list(_rows(args.dag_id, tags or ()))
    terminal.write_rows(rows, args.output)


def _tags_of(dag_id: str) -> tuple[str, ...] | None:
    """Return a DAG's tags; None where Airflow knows no such DAG."""
    from airflow.models.dag import DagModel, DagTag
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        if session.get(DagModel, dag_id) is None:
            return None
        return tuple(session.scalars(select(DagTag.name).where(DagTag.dag_id == dag_id).order_by(DagTag.name)))


def _rows(dag_id: str, tags: tuple[str, ...]) -> Iterator[dict[str, object]]:
    for listed in connection.list_webhooks():
        if listed.webhook is None:
            yield {"conn_id": listed.id, "hears": False, "of": "", "why": listed.problem}
            continue
        verdict = judge(listed.webhook, dag_id, tags)
        yield {
            "conn_id": listed.id,
            "hears": verdict.heard,
            "of": _subject(listed.webhook) if verdict.heard else "",
            "why": verdict.reason,
        }


def _subject(webhook: Webhook) -> str:
    what = {"dag": "runs", "task": "tasks", "both": "runs and tasks"}[webhook.level.value]
    topics = ", ".join(topic.rpartition(".")[2] for topic in webhook.topics)
    return f"{what}: {topics}{'; retries too' if webhook.retries else ''}"
