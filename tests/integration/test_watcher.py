"""The watcher on Airflow's own tables, on each database in turn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.models.taskinstancehistory import TaskInstanceHistory
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from sqlalchemy import delete, select

from airflow_webhook_notify.causes import KILLED_TEXT
from airflow_webhook_notify.exceptions import OutboxMissingError
from airflow_webhook_notify.models import Level
from airflow_webhook_notify.watcher.looks import Terms
from airflow_webhook_notify.watcher.resident import Watcher
from tests.integration.airflow_rows import T0_MS, AirflowRows, at, make_tables, subscriber
from tests.integration.outboxes import DATABASES, make_engine, make_url


@pytest.fixture(params=DATABASES)
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AirflowRows]:
    """Airflow's empty tables and ours."""
    engine = make_engine(make_url(request.param, request, tmp_path))
    make_tables(engine)
    yield AirflowRows(engine)
    engine.dispose()


@pytest.fixture
def watcher(rows: AirflowRows) -> Watcher:
    """A watcher that has looked once, so that all that comes is new."""
    watcher = rows.watcher()
    assert rows.look(watcher) == []
    return watcher


def test_a_run_and_its_task_are_told_of_step_by_step(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(state="queued", start=None)
    assert rows.look(watcher) == []
    rows.change_run(state="running", start_date=2)
    rows.task(state="scheduled", try_number=1)
    assert rows.look(watcher) == ["etl started (running)"]
    rows.runs_task(start=3)
    assert rows.look(watcher) == ["etl.load#1 started (running)"]
    rows.task(state="success", end_date=4)
    assert rows.look(watcher) == ["etl.load#1 succeeded (success)"]
    rows.change_run(state="success", end_date=5)
    assert rows.look(watcher) == ["etl succeeded (success)"]
    assert [rows.look(watcher, after=20) for _ in range(5)] == [[]] * 5


def test_what_starts_and_ends_between_two_looks_is_told_of_whole(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(state="success", start=1.1)
    rows.runs_task(start=1.2)
    rows.task(state="success", end_date=1.5)
    rows.change_run(end_date=1.6)
    assert rows.look(watcher) == [
        "etl started (running)",
        "etl.load#1 started (running)",
        "etl.load#1 succeeded (success)",
        "etl succeeded (success)",
    ]


def test_a_restarted_watcher_tells_what_happened_meanwhile_and_nothing_twice(
    rows: AirflowRows, watcher: Watcher
) -> None:
    rows.run(start=1)
    rows.runs_task(start=1.5)
    assert rows.look(watcher) == ["etl started (running)", "etl.load#1 started (running)"]
    rows.clock.seconds += 600
    rows.task(state="success", end_date=300)
    rows.change_run(state="success", end_date=301)
    rows.run(run_id="r2", state="failed", start=310)
    rows.change_run("r2", end_date=320)
    again = rows.watcher()
    assert rows.look(again, after=1000) == [
        "etl.load#1 succeeded (success)",
        "etl succeeded (success)",
        "etl started (running)",
        "etl failed (failed)",
    ]
    assert rows.look(rows.watcher(), after=60) == []


def test_a_run_that_ended_while_a_watcher_was_restarted_at_once_is_told_of(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(start=1)
    rows.look(watcher, after=6)
    rows.change_run(state="success", end_date=7)
    watcher.start()
    watcher.stop()
    assert [item.short for item in rows.new()] == ["etl succeeded (success)"]


def test_after_too_long_a_gap_the_first_part_is_skipped_and_the_log_says_so(
    rows: AirflowRows, watcher: Watcher, caplog: pytest.LogCaptureFixture
) -> None:
    rows.run(start=1)
    assert rows.look(watcher, after=10) == ["etl started (running)"]
    rows.clock.seconds = HOURS
    rows.change_run(state="success", end_date=HOURS)
    rows.clock.seconds = 30 * HOURS
    rows.run(run_id="r2", state="failed", start=30 * HOURS)
    rows.change_run("r2", end_date=30 * HOURS)
    with caplog.at_level("WARNING"):
        assert rows.look(rows.watcher()) == ["etl started (running)", "etl failed (failed)"]
    (line,) = [record.getMessage() for record in caplog.records if record.name.startswith("airflow_webhook_notify")]
    assert line == (
        "webhooks: nobody watched for 30.0 h; what happened in the first 6.0 h of it is skipped "
        "([webhook_notify] catch_up)"
    )


HOURS = 3600


def test_only_one_of_two_watchers_looks_until_its_lease_ends(rows: AirflowRows, watcher: Watcher) -> None:
    other = rows.watcher()
    rows.run(start=1)
    assert rows.look(other) == []
    assert rows.look(watcher) == ["etl started (running)"]
    rows.change_run(state="success", end_date=rows.clock.seconds)
    assert rows.look(other, after=10) == []
    assert rows.look(other, after=16) == ["etl succeeded (success)"]


def test_a_watcher_that_stops_hands_its_lease_on(rows: AirflowRows) -> None:
    first = rows.watcher(interval=60)
    first.start()
    first.stop()
    rows.run(start=0.5)
    rows.clock.seconds = 1
    assert rows.watcher().turn() == 1


def test_a_watcher_whose_lease_passed_on_writes_nothing(rows: AirflowRows, watcher: Watcher) -> None:
    other = rows.watcher()
    # It was stopped for longer than its lease, and is in the middle of a look when it goes on.
    rows.look(other, after=16)
    rows.run(start=rows.clock.seconds)
    watcher._renew_at = 10**15
    assert rows.look(watcher, after=0.1) == []
    assert rows.look(other) == ["etl started (running)"]
    assert rows.look(watcher) == []


def test_what_could_not_be_handed_over_is_handed_over_later(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(start=1)
    rows.runs_task(start=1.5)
    with rows.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE webhook_notify_delivery RENAME TO away")
    rows.clock.seconds += 1
    for _ in range(2):
        with pytest.raises(OutboxMissingError):
            watcher.turn()
    with rows.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO webhook_notify_delivery")
    assert rows.look(watcher) == ["etl started (running)", "etl.load#1 started (running)"]
    assert rows.look(watcher) == []


# Whom it concerns


def test_a_webhook_hears_from_the_moment_it_subscribes(rows: AirflowRows) -> None:
    rows.with_webhooks()
    watcher = rows.watcher()
    rows.look(watcher)
    rows.run(start=1)
    rows.runs_task(start=1)
    rows.look(watcher, after=10)
    rows.with_webhooks(subscriber())
    assert rows.look(watcher, after=3) == []
    rows.task(state="success", end_date=rows.clock.seconds + 0.5)
    assert rows.look(watcher) == ["etl.load#1 succeeded (success)"]


def test_what_starts_and_ends_right_after_a_webhook_was_made_is_told_of(rows: AirflowRows) -> None:
    rows.with_webhooks()
    watcher = rows.watcher()
    rows.look(watcher)
    made = rows.clock.seconds
    rows.with_webhooks(subscriber())
    rows.run(start=made + 0.2)
    rows.change_run(state="success", end_date=made + 0.4)
    # This look does not read the webhooks again, the next one does.
    assert rows.look(watcher) == []
    assert rows.look(watcher) == ["etl started (running)", "etl succeeded (success)"]


def test_changed_filters_hold_from_the_change(rows: AirflowRows) -> None:
    rows.with_webhooks(subscriber(dags=("etl",)))
    watcher = rows.watcher()
    rows.look(watcher)
    rows.run("etl", start=1)
    rows.run("ml", start=1)
    assert rows.look(watcher, after=5) == ["etl started (running)"]
    rows.with_webhooks(subscriber(dags=("etl", "ml")))
    assert rows.look(watcher, after=5) == []
    for name in ("etl", "ml"):
        rows.change_run(dag_id=name, state="success", end_date=rows.clock.seconds)
    assert rows.look(watcher) == ["etl succeeded (success)", "ml succeeded (success)"]


def test_tags_levels_topics_and_retries_decide_who_hears_what(rows: AirflowRows) -> None:
    rows.with_webhooks(
        subscriber("runs", dags=(), tags=("prod",), level=Level.DAG),
        subscriber("tasks", dags=("etl",), level=Level.TASK, topics=("job.execution.failed",)),
        subscriber("retries", dags=("etl",), level=Level.TASK, topics=("job.execution.failed",), retries=True),
        subscriber("others", dags=("*", "!etl")),
    )
    rows.dag("etl", tags=["prod"])
    watcher = rows.watcher()
    rows.look(watcher)
    rows.run(start=1)
    rows.runs_task(start=1.1, max_tries=1)
    rows.clock.seconds += 1
    rows.reports("load", {"id": rows.task(), "message": "ValueError: no", "exit_status": 1})
    rows.next_try(state="up_for_retry", end_date=1.5)
    rows.look(watcher)
    rows.runs_task(try_number=2, start=2.5)
    rows.task(state="failed", end_date=3)
    rows.change_run(state="failed", end_date=3.5)
    rows.look(watcher, after=2)
    rows.seen.clear()
    heard: dict[str, list[str]] = {}
    for item in rows.new():
        heard.setdefault(item.webhook_id, []).append(item.short)
    assert heard == {
        "runs": ["etl started (running)", "etl failed (failed)"],
        "tasks": ["etl.load#2 failed (failed)"],
        "retries": ["etl.load#1 failed (up_for_retry)", "etl.load#2 failed (failed)"],
    }


def test_a_webhook_that_is_deleted_and_made_again_hears_from_then_on(rows: AirflowRows, watcher: Watcher) -> None:
    rows.with_webhooks()
    rows.look(watcher, after=3)
    rows.run(start=rows.clock.seconds)
    rows.look(watcher, after=3)
    rows.with_webhooks(subscriber())
    assert rows.look(watcher, after=3) == []
    rows.change_run(state="success", end_date=rows.clock.seconds + 0.5)
    assert rows.look(watcher) == ["etl succeeded (success)"]


# What Airflow and people do to tasks


def test_a_task_that_is_retried_fails_once_for_those_who_asked_for_no_more(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(start=1)
    rows.runs_task(start=1.1, max_tries=1)
    assert rows.look(watcher) == ["etl started (running)", "etl.load#1 started (running)"]
    rows.next_try(state="up_for_retry", end_date=2)
    assert rows.look(watcher) == []
    rows.task(state="queued", try_number=2, queued_dttm=3)
    assert rows.look(watcher) == []
    rows.runs_task(try_number=2, start=4)
    assert rows.look(watcher) == ["etl.load#2 started (running)"]
    rows.task(state="success", end_date=5)
    assert rows.look(watcher) == ["etl.load#2 succeeded (success)"]


def test_a_retry_tells_its_own_execution_and_when_the_next_comes(rows: AirflowRows) -> None:
    rows.with_webhooks(subscriber(retries=True, level=Level.TASK))
    watcher = rows.watcher()
    rows.look(watcher)
    rows.run(start=1)
    first = rows.runs_task(start=1.2, max_tries=1)
    rows.look(watcher)
    rows.reports("load", {"id": first, "message": "AirflowException: exit code 7", "exit_status": 7})
    rows.renders("load", {"bash_command": "exit 7", "env": None})
    policy = hasattr(TaskInstance, "retry_delay_override")
    if policy:
        rows.task(retry_delay_override=90.0)
    rows.next_try(state="up_for_retry", end_date=2.5)
    rows.clock.seconds += 1
    watcher.turn()
    item = next(item for item in rows.new() if item.topic == "failed")
    assert item.short == "etl.load#1 failed (up_for_retry)"
    assert (item.data["Id"], item.data["LastAttempt"]["ExitStatus"]) == (first, 7)
    assert item.data["LastAttempt"]["Message"] == "AirflowException: exit code 7"
    assert item.data["Target"]["Command"] == "exit 7"
    assert (item.data["Airflow"]["Cause"], item.data["WillRetry"]) == ("exception", True)
    if policy:
        assert item.data["NextAttemptAt"] == T0_MS + 92_500


def test_a_thousand_mapped_tasks_are_told_of_once_each(rows: AirflowRows) -> None:
    rows.with_webhooks(subscriber(level=Level.TASK, topics=("job.execution.succeeded",)))
    watcher = rows.watcher()
    rows.look(watcher)
    rows.run(start=1)
    task = EmptyOperator(task_id="mapped", dag=DAG("etl"))
    with rows.session() as session:
        for index in range(1000):
            row = TaskInstance(task, None, run_id="r1", map_index=index)  # type: ignore[arg-type]
            row.state, row.try_number, row.hostname = "success", 1, "worker"
            row.start_date, row.end_date, row.updated_at = at(1), at(1.5), rows.now
            session.add(row)
    told = rows.look(watcher)
    assert len(told) == 1000
    assert set(told) == {f"etl.mapped[{index}]#1 succeeded (success)" for index in range(1000)}
    assert rows.look(watcher, after=20) == []


def test_a_deferred_task_starts_once(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(start=1)
    rows.runs_task(start=1.5)
    assert rows.look(watcher) == ["etl started (running)", "etl.load#1 started (running)"]
    for state in ("deferred", "scheduled", "queued", "running"):
        rows.task(state=state, queued_dttm=rows.clock.seconds)
        assert rows.look(watcher) == []
    rows.task(state="success", end_date=rows.clock.seconds)
    assert rows.look(watcher) == ["etl.load#1 succeeded (success)"]


def test_skips_and_upstream_failures_of_the_scheduler_are_told_of(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(start=1)
    rows.task("later", state="upstream_failed", start_date=1.5, end_date=1.5)
    rows.task("other", state="skipped", start_date=1.5, end_date=1.5)
    rows.task("empty", state="success", try_number=1, start_date=1.5, end_date=1.5)
    rows.clock.seconds += 1
    watcher.turn()
    heard = rows.new()
    assert sorted(item.short for item in heard) == [
        "etl started (running)",
        "etl.empty#1 succeeded (success)",
        "etl.later failed (upstream_failed)",
        "etl.other succeeded (skipped)",
    ]
    (failed,) = [item for item in heard if item.topic == "failed"]
    assert failed.data["Airflow"]["Cause"] == "upstream_failed"
    assert failed.data["LastAttempt"]["Message"] == "an upstream task failed"


def fails(rows: AirflowRows, *, start: float = 1.0) -> None:
    """Have a task fail without a word."""
    rows.run(start=start)
    rows.runs_task(start=start)
    rows.task(state="failed", end_date=start + 0.5)


def failure(rows: AirflowRows) -> tuple[str, str | None, int]:
    """Cause, message and exit status of the task's failure that is new."""
    (item,) = [item for item in rows.new() if item.topic == "failed" and item.try_number]
    last = item.data["LastAttempt"]
    return item.data["Airflow"]["Cause"], last["Message"], last["ExitStatus"]


def test_a_task_that_was_killed_is_told_of_at_once(rows: AirflowRows, watcher: Watcher) -> None:
    fails(rows)
    rows.logs("failed", task_id="load", try_number=1)
    rows.clock.seconds += 1
    watcher.turn()
    assert failure(rows) == ("killed", KILLED_TEXT, 1)


def test_a_lost_heartbeat_says_so(rows: AirflowRows, watcher: Watcher) -> None:
    fails(rows)
    text = "Task did not emit heartbeat within time limit (300 seconds) and will be terminated."
    rows.logs("heartbeat timeout", task_id="load", try_number=1, extra=text)
    rows.logs("failed", task_id="load", try_number=1)
    rows.clock.seconds += 1
    watcher.turn()
    assert failure(rows) == ("heartbeat_timeout", text, 1)


def test_a_lost_supervisor_is_a_kill(rows: AirflowRows, watcher: Watcher) -> None:
    fails(rows)
    rows.logs("state mismatch", task_id="load", try_number=1, extra="Executor … reported …")
    rows.clock.seconds += 1
    watcher.turn()
    assert failure(rows)[0] == "killed"


def test_without_reports_a_silent_failure_is_unknown(rows: AirflowRows) -> None:
    rows.terms = Terms(reports=False)
    watcher = rows.watcher()
    rows.look(watcher)
    fails(rows)
    rows.clock.seconds += 1
    watcher.turn()
    assert failure(rows) == ("unknown", "Airflow gave no reason", 1)


def test_a_retry_waits_for_its_report_and_no_longer_than_the_grace(rows: AirflowRows) -> None:
    rows.with_webhooks(subscriber(retries=True, level=Level.TASK, topics=("job.execution.failed",)))
    watcher = rows.watcher()
    rows.look(watcher)
    rows.run(start=1)
    told = rows.runs_task("told", start=1, max_tries=1)
    rows.runs_task("silent", start=1, max_tries=1)
    rows.look(watcher)
    for name in ("told", "silent"):
        rows.logs("up_for_retry", task_id=name, try_number=1)
        rows.next_try(name, state="up_for_retry", end_date=2)
    assert rows.look(watcher) == []
    rows.reports("told", {"id": told, "message": "no", "exit_status": 1})
    assert rows.look(watcher) == ["etl.told#1 failed (up_for_retry)"]
    assert rows.look(watcher, after=27) == []
    assert rows.look(watcher, after=3) == ["etl.silent#1 failed (up_for_retry)"]


def test_what_waits_for_a_report_survives_the_watcher(rows: AirflowRows) -> None:
    rows.with_webhooks(subscriber(retries=True, level=Level.BOTH))
    watcher = rows.watcher()
    rows.look(watcher)
    rows.run(start=1)
    rows.runs_task(start=1, max_tries=1)
    rows.look(watcher)
    rows.logs("up_for_retry", task_id="load", try_number=1)
    rows.next_try(state="up_for_retry", end_date=2)
    rows.change_run(state="failed", end_date=2.5)
    assert rows.look(watcher) == ["etl failed (failed)"]
    rows.look(watcher, after=6)
    again = rows.watcher()
    assert rows.look(again, after=16) == []
    assert rows.look(again, after=31) == ["etl.load#1 failed (up_for_retry)"]


@pytest.mark.parametrize(("state", "topic"), [("failed", "failed"), ("success", "succeeded")])
def test_a_running_task_that_is_marked_by_hand(rows: AirflowRows, watcher: Watcher, state: str, topic: str) -> None:
    rows.run(start=1)
    rows.runs_task(start=1)
    rows.look(watcher)
    rows.logs("patch_task_instance", task_id="load")
    rows.task(state=state, end_date=rows.clock.seconds)
    rows.clock.seconds += 1
    watcher.turn()
    (item,) = rows.new()
    assert item.short == f"etl.load#1 {topic} ({state})"
    assert item.data["Airflow"].get("Cause") == ("manual" if state == "failed" else None)


def test_an_old_task_and_its_run_that_are_marked_by_hand(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(start=1)
    rows.runs_task(start=1)
    rows.task(state="success", end_date=2)
    rows.change_run(state="success", end_date=2)
    assert len(rows.look(watcher, after=5)) == 4
    rows.look(watcher, after=100)
    rows.look(watcher, after=10_000)
    rows.logs("patch_task_instance", task_id="load")
    # The audit log has it before it is done.
    assert rows.look(watcher) == []
    rows.task(state="failed")
    rows.clock.seconds += 1
    watcher.turn()
    (item,) = rows.new()
    assert (item.short, item.data["Airflow"]["Cause"]) == ("etl.load#1 failed (failed)", "manual")
    assert item.data["UpdatedAt"] == T0_MS + 10_107_000
    rows.logs("patch_dag_run")
    rows.change_run(state="failed")
    rows.clock.seconds += 1
    watcher.turn()
    (item,) = rows.new()
    assert (item.short, item.data["Airflow"]["Cause"]) == ("etl failed (failed)", "manual")
    assert item.data["UpdatedAt"] == T0_MS + 10_108_000


def test_a_bulk_change_names_its_runs_in_its_body(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(start=1)
    rows.change_run(state="success", end_date=2)
    rows.look(watcher, after=5)
    rows.look(watcher, after=100)
    rows.look(watcher, after=10_000)
    body = {"actions": [{"action": "update", "entities": [{"dag_id": "etl", "dag_run_id": "r1"}]}], "method": "PATCH"}
    rows.logs("bulk_dag_runs", dag_id="~", run_id=None, extra=json.dumps(body))
    rows.change_run(state="failed")
    assert rows.look(watcher) == ["etl failed (failed)"]


def test_a_cleared_run_is_told_of_again(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(start=1)
    rows.runs_task(start=1)
    rows.task(state="failed", end_date=2)
    rows.change_run(state="failed", end_date=2)
    assert len(rows.look(watcher, after=5)) == 4
    rows.logs("clear_dag_run")
    rows.next_try(state=None, max_tries=1)
    rows.change_run(state="queued", start_date=None, end_date=None, clear_number=1)
    assert rows.look(watcher) == []
    rows.change_run(state="running", start_date=7)
    rows.runs_task(try_number=2, start=7.5)
    assert rows.look(watcher) == ["etl started (running)", "etl.load#2 started (running)"]
    rows.task(state="success", end_date=8)
    rows.change_run(state="success", end_date=8)
    assert rows.look(watcher) == ["etl.load#2 succeeded (success)", "etl succeeded (success)"]


def test_a_task_that_failed_and_was_cleared_between_two_looks_has_failed(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(start=1)
    rows.runs_task(start=1)
    rows.look(watcher)
    rows.task(state="failed", end_date=1.9)
    rows.logs("failed", task_id="load", try_number=1)
    rows.clock.seconds += 0.5
    rows.logs("post_clear_task_instances", run_id="r1")
    rows.next_try(state=None, max_tries=1)
    assert rows.look(watcher, after=0.5) == ["etl.load#1 failed (failed)"]


def test_a_task_that_was_cleared_while_it_ran_has_not_failed(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(start=1)
    rows.runs_task(start=1)
    rows.look(watcher)
    rows.logs("post_clear_task_instances", run_id="r1")
    rows.clock.seconds += 0.1
    rows.next_try(state="restarting")
    with rows.session() as session:
        past = session.scalars(select(TaskInstanceHistory)).one()
        # Airflow dates it by the clock of the machine.
        past.end_date = rows.now
    rows.change_run(clear_number=1)
    assert rows.look(watcher) == []
    rows.task(state="up_for_retry")
    assert rows.look(watcher) == []
    rows.runs_task(try_number=2, start=5)
    assert rows.look(watcher, after=3) == ["etl.load#2 started (running)"]


def test_a_task_that_a_scheduler_took_back_has_not_failed(rows: AirflowRows) -> None:
    plain = subscriber("plain", level=Level.TASK)
    rows.with_webhooks(plain, replace(plain, id="retries", retries=True))
    watcher = rows.watcher()
    rows.look(watcher)
    rows.run(start=1)
    rows.runs_task(start=1)
    rows.look(watcher)
    rows.clock.seconds += 0.1
    # As `adopt_or_reset_orphaned_tasks` does: no retry is left, and nobody writes that it failed.
    rows.next_try(state=None)
    with rows.session() as session:
        session.scalars(select(TaskInstanceHistory)).one().end_date = rows.now
    rows.clock.seconds += 1
    watcher.turn()
    rows.runs_task(try_number=2, start=5)
    rows.clock.seconds += 3
    watcher.turn()
    heard = rows.new()
    assert sorted((item.webhook_id, item.short) for item in heard if item.topic == "failed") == [
        ("retries", "etl.load#1 failed (up_for_retry)"),
    ]
    assert [item.short for item in heard if item.webhook_id == "plain" and item.try_number == 2] == [
        "etl.load#2 started (running)",
    ]


def test_a_process_that_reports_how_it_was_ended_by_hand(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(start=1)
    task = rows.runs_task(start=1)
    rows.look(watcher)
    rows.logs("patch_task_instance", task_id="load")
    rows.clock.seconds += 0.1
    rows.task(state="failed", end_date=rows.clock.seconds)
    rows.clock.seconds += 0.5
    rows.reports("load", {"id": task, "message": "exit code -15", "exit_status": -15})
    rows.clock.seconds += 0.5
    watcher.turn()
    assert failure(rows) == ("manual", "marked failed by hand", 1)


def test_a_run_that_times_out(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(start=1)
    rows.runs_task(start=1)
    rows.look(watcher)
    rows.task(state="skipped")
    rows.change_run(state="failed", end_date=2.5)
    assert sorted(rows.look(watcher)) == ["etl failed (failed)", "etl.load#1 succeeded (skipped)"]


def test_the_cause_of_a_failed_run_is_that_of_its_first_failed_task(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(start=1)
    first = rows.runs_task("first", start=1)
    rows.task("first", state="failed", end_date=1.2)
    rows.reports("first", {"id": first, "message": "no", "exit_status": 3})
    rows.task("later", state="upstream_failed")
    rows.change_run(state="failed", end_date=1.5)
    rows.clock.seconds += 1
    watcher.turn()
    (item,) = [item for item in rows.new() if item.short == "etl failed (failed)"]
    assert (item.data["Airflow"]["Cause"], item.data["LastAttempt"]["Message"]) == ("exception", "task_failure")


def test_a_deleted_run_is_forgotten(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(start=1)
    rows.look(watcher)
    with rows.session() as session:
        session.execute(delete(DagRun))
    assert rows.look(watcher) == []
    assert rows.look(watcher, after=100) == []


# Storms and heartbeats


def test_a_storm_is_one_event_when_the_run_ends(rows: AirflowRows) -> None:
    plain = subscriber("plain", level=Level.TASK, topics=("job.execution.failed",))
    rows.with_webhooks(plain, replace(plain, id="rolled", roll_up=60))
    watcher = rows.watcher()
    rows.look(watcher)
    rows.run(start=1)
    for index in range(150):
        rows.runs_task("mapped", map_index=index, start=1)
        rows.task("mapped", map_index=index, state="failed", end_date=1.5)
    rows.clock.seconds += 1
    watcher.turn()
    assert {item.webhook_id for item in rows.new()} == {"plain"}
    rows.change_run(state="failed", end_date=rows.clock.seconds)
    rows.clock.seconds += 1
    watcher.turn()
    (item,) = rows.new()
    assert (item.webhook_id, item.job, item.topic) == ("rolled", "etl", "failed")
    assert (item.data["Failures"]["Count"], len(item.data["Failures"]["Tasks"])) == (150, 100)
    assert item.data["LastAttempt"]["Message"] == "150 tasks failed"
    line = item.data["Failures"]["Tasks"][0]
    assert (line["TaskId"], line["Cause"], line["WillRetry"], line["ExitStatus"]) == ("mapped", "killed", False, 1)
    assert rows.look(watcher, after=20) == []


def test_a_storm_of_a_long_run_waits_no_longer_than_its_window(rows: AirflowRows) -> None:
    rows.with_webhooks(subscriber(level=Level.TASK, topics=("job.execution.failed",), roll_up=60))
    watcher = rows.watcher()
    rows.look(watcher)
    fails(rows)
    assert rows.look(watcher) == []
    assert rows.look(watcher, after=30) == []
    # It is no storm, so the task's own event goes.
    assert rows.look(watcher, after=31) == ["etl.load#1 failed (failed)"]


def fails_in_storm(rows: AirflowRows, *names: str) -> None:
    """Have tasks fail now."""
    for name in names:
        rows.runs_task(name, start=rows.clock.seconds)
        rows.task(name, state="failed", end_date=rows.clock.seconds)


def test_what_was_rolled_up_is_not_told_again_by_another_watcher(rows: AirflowRows) -> None:
    rows.with_webhooks(subscriber(level=Level.TASK, topics=("job.execution.failed",), roll_up=10))
    watcher = rows.watcher()
    rows.look(watcher)
    rows.run(start=1)
    fails_in_storm(rows, "a", "b")
    assert rows.look(watcher) == []
    assert rows.look(watcher, after=10) == ["etl failed (running)"]
    fails_in_storm(rows, "c")
    assert rows.look(watcher) == []
    # It reads again what failed in the last minute.
    again = rows.watcher()
    assert rows.look(again, after=16) == []
    assert rows.look(again, after=10) == ["etl.c#1 failed (failed)"]
    assert rows.look(again, after=30) == []


def test_a_storm_that_gathers_survives_the_watcher(rows: AirflowRows) -> None:
    rows.with_webhooks(subscriber(level=Level.TASK, topics=("job.execution.failed",), roll_up=300))
    watcher = rows.watcher()
    rows.look(watcher)
    rows.run(start=1)
    fails_in_storm(rows, "a", "b")
    for _ in range(20):
        assert rows.look(watcher, after=10) == []
    again = rows.watcher()
    assert rows.look(again, after=16) == []
    rows.change_run(state="failed", end_date=rows.clock.seconds)
    rows.clock.seconds += 1
    again.turn()
    (item,) = rows.new()
    assert [line["TaskId"] for line in item.data["Failures"]["Tasks"]] == ["a", "b"]


def test_what_a_callback_has_told_of_is_not_rolled_up(rows: AirflowRows) -> None:
    webhook = subscriber(level=Level.TASK, topics=("job.execution.failed",), roll_up=10)
    rows.with_webhooks(replace(webhook, roll_up=None))
    watcher = rows.watcher()
    rows.look(watcher)
    rows.run(start=1)
    fails_in_storm(rows, "a")
    assert rows.look(watcher) == ["etl.a#1 failed (failed)"]
    # As if it had been a callback of this webhook that did.
    rows.with_webhooks(webhook)
    again = rows.watcher()
    fails_in_storm(rows, "b", "c")
    assert rows.look(again, after=16) == []
    rows.clock.seconds += 10
    again.turn()
    (item,) = rows.new()
    assert [line["TaskId"] for line in item.data["Failures"]["Tasks"]] == ["b", "c"]


def test_beyond_its_rate_a_webhooks_events_wait(rows: AirflowRows) -> None:
    rows.with_webhooks(subscriber(level=Level.DAG, topics=("job.execution.started",), rate=2))
    watcher = rows.watcher()
    rows.look(watcher)
    for number in range(5):
        rows.run(run_id=f"r{number}", start=1)
    rows.clock.seconds = 2
    watcher.turn()
    assert sorted(item.due_at for item in rows.new()) == [2000, 2000, 32_000, 62_000, 92_000]


def test_another_watcher_uses_no_rate_up_for_what_was_told(rows: AirflowRows) -> None:
    rows.with_webhooks(subscriber(level=Level.DAG, topics=("job.execution.started",), rate=2))
    watcher = rows.watcher()
    rows.look(watcher)
    for number in range(2):
        rows.run(run_id=f"r{number}", start=1)
    assert len(rows.look(watcher)) == 2
    again = rows.watcher()
    assert rows.look(again, after=16) == []
    rows.clock.seconds = 40
    rows.run(run_id="r2", start=39)
    again.turn()
    assert [item.due_at for item in rows.new()] == [40_000]


def test_a_heartbeat_is_a_ping_every_so_many_minutes(rows: AirflowRows) -> None:
    rows.with_webhooks(subscriber(dags=(), heartbeat=5))
    watcher = rows.watcher()
    assert rows.look(watcher) == []
    assert rows.look(watcher, after=299) == []
    (line,) = rows.look(watcher, after=2)
    assert line == "ops ping ()"
    # Another watcher goes on with it.
    again = rows.watcher()
    assert rows.look(again, after=200) == []
    assert rows.look(again, after=101) == ["ops ping ()"]
