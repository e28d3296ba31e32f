"""What a subscribed webhook hears, whatever becomes of tasks, runs and Airflow itself: the matrix, row by row."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from jsonschema import Draft202012Validator

from airflow_webhook_notify.schema import payload_schema
from airflow_webhook_notify.signing import verify
from tests.acceptance.delivery_log import DeliveryLog, wait_until_subscribed
from tests.acceptance.matrix import MATRIX, ROWS
from tests.acceptance.watching import Watched, watching
from tests.acceptance.webhooks import SECRET, payload_of
from tests.postgres import PostgresServer

PAYLOADS = Draft202012Validator(payload_schema())
ONCE = "test_each_event_arrives_once"


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Watched]:
    """One run of each DAG, all begun together."""
    with watching(tmp_path_factory.mktemp("watched"), postgres) as started:
        yield started


# First, before Airflow's own look at the folder notices.
def test_a_dag_whose_file_is_deleted_while_it_runs(watched: Watched) -> None:
    watched.wait_for_log("file_deleted", "holds", "Running command")
    (watched.airflow.dags / "deleted.py").unlink()
    watched.release("file_deleted")
    watched.check("file_deleted")


def test_a_deferred_task_that_fails_in_its_trigger(watched: Watched) -> None:
    # Where it is resumed before the scheduler has taken down that it gave its process back, Airflow fails it for that.
    log = watched.airflow.home / "scheduler.log"
    known = "executor event with state success for task instance TaskInstanceKey(dag_id='deferred'"
    watched.airflow.wait_until("the scheduler knows", lambda: known in log.read_text(), timeout=120)
    watched.release("deferred")
    watched.check("deferred")


@pytest.mark.parametrize("dag_id", [row.dag_id for row in MATRIX if row.test == ONCE])
def test_each_event_arrives_once(watched: Watched, dag_id: str) -> None:
    watched.check(dag_id)


def test_a_task_that_is_marked_success_and_later_failed(watched: Watched) -> None:
    watched.wait_for("marked_success", "marked_success.sleeps#1 started running")
    watched.mark("marked_success", "success")
    watched.wait_for("marked_success", "marked_success succeeded success")
    watched.mark("marked_success", "failed")
    watched.mark("marked_success", "failed", run=True)
    watched.check("marked_success")


def test_a_task_that_is_marked_failed_and_later_success(watched: Watched) -> None:
    watched.wait_for("marked_failed", "marked_failed.sleeps#1 started running")
    watched.mark("marked_failed", "failed")
    watched.wait_for("marked_failed", "marked_failed failed failed manual 1")
    watched.mark("marked_failed", "success")
    watched.mark("marked_failed", "success", run=True)
    watched.check("marked_failed")


def test_a_run_that_is_marked_failed_while_it_runs(watched: Watched) -> None:
    watched.wait_for("run_marked", "run_marked.sleeps#1 started running")
    watched.mark("run_marked", "failed", run=True)
    watched.check("run_marked")


def test_a_run_that_is_cleared_and_runs_again(watched: Watched) -> None:
    watched.wait_for("cleared", "cleared.sleeps#1 started running")
    watched.mark("cleared", "success")
    watched.wait_for("cleared", "cleared succeeded success")
    watched.clear("cleared")
    watched.wait_for("cleared", "cleared.sleeps#2 started running")
    watched.mark("cleared", "failed", run=True)
    watched.check("cleared")


def test_a_task_that_is_cleared_while_it_runs(watched: Watched) -> None:
    watched.wait_for("cleared_running", "cleared_running.sleeps#1 started running")
    watched.clear("cleared_running")
    watched.wait_for("cleared_running", "cleared_running.sleeps#2 started running")
    watched.mark("cleared_running", "success")
    watched.check("cleared_running")


def test_a_failed_try_says_when_the_next_one_comes(watched: Watched) -> None:
    watched.check("retried")
    (failed,) = [each for each in watched.payloads("retried").values() if each["Topic"] == "job.execution.failed"]
    assert failed["Data"]["NextAttemptAt"] == failed["Data"]["UpdatedAt"] + 1000


def test_a_dag_without_callbacks_is_heard_of_all_the_same(watched: Watched) -> None:
    expected = {
        "fine started running",
        "fine.works#1 started running",
        "fine.works#1 succeeded success",
        # Airflow never starts it.
        "fine.empty#1 succeeded success",
        "fine succeeded success",
    }
    watched.wait_for("fine", *expected)
    assert watched.heard("fine") == sorted(expected)


def test_a_backfill_is_heard_of(watched: Watched) -> None:
    new_year = "2026-01-01T00:00:00+00:00"
    backfill = {"dag_id": "backfilled", "from_date": new_year, "to_date": new_year}
    watched.airflow.api("POST", "/backfills", json=backfill)
    expected = {
        "backfilled started running",
        "backfilled.works#1 started running",
        "backfilled.works#1 succeeded success",
        "backfilled succeeded success",
    }
    run_id = f"backfill__{new_year}"
    watched.wait_for("backfilled", *expected, run_id=run_id)
    assert watched.heard("backfilled", run_id=run_id) == sorted(expected)
    payloads = watched.payloads("backfilled", run_id=run_id).values()
    assert {payload["Data"]["TriggerType"] for payload in payloads} == {"backfill"}


ATTACHED = {
    "attached started",
    *(f"attached.{name}#1 started" for name in ("works", "skips", "fails", "dies", "is_mapped[0]", "is_mapped[1]")),
    "attached.works#1 succeeded",
    "attached.skips#1 succeeded",
    "attached.is_mapped[0]#1 succeeded",
    "attached.is_mapped[1]#1 failed",
    "attached.fails#1 failed",
    "attached.fails#2 started",
    "attached.fails#2 failed",
    "attached.dies#1 failed",
    "attached failed",
}


def test_a_webhook_that_is_attached_and_subscribed_hears_of_each_event_once(watched: Watched) -> None:
    watched.airflow.wait_for_run("attached", "first:run+1")
    heard = "attached: all arrived"
    watched.airflow.wait_until(heard, lambda: set(watched.topics("attached", webhook="watch")) >= ATTACHED, timeout=60)
    assert watched.topics("attached", webhook="watch") == sorted(ATTACHED)


def test_a_changed_connection_changes_who_hears_within_seconds(watched: Watched) -> None:
    airflow, heard = watched.airflow, ["succeeds started running", "succeeds succeeded success"]
    extra = {"allow_http": True, "dags": ["succ*"]}
    fields = {"conn_type": "webhook", "host": watched.receiver.url("/narrow"), "password": SECRET}
    airflow.add_connection("narrow", **fields, extra=json.dumps(extra))
    wait_until_subscribed(airflow, "narrow")
    airflow.trigger("succeeds", run_id="second")
    watched.wait_for("succeeds", *heard, run_id="second")
    what = "the new webhook heard"
    airflow.wait_until(what, lambda: watched.heard("succeeds", webhook="narrow", run_id="second") == heard, timeout=60)

    before = watched.fingerprint("narrow")
    changed = {"connection_id": "narrow", **fields, "extra": json.dumps({**extra, "dags": ["*", "!succeeds"]})}
    airflow.api("PATCH", "/connections/narrow", json=changed)
    airflow.wait_until("the watcher noticed", lambda: watched.fingerprint("narrow") != before, timeout=60)
    airflow.trigger("succeeds", run_id="third")
    watched.wait_for("succeeds", *heard, run_id="third")
    # What a look finds is in the outbox for all who hear of it, or for none.
    assert DeliveryLog(airflow, "narrow", "succeeds", "third").deliveries() == []


# What follows kills parts of Airflow, so it comes last.


def test_what_becomes_of_a_task_whose_scheduler_is_killed(watched: Watched) -> None:
    watched.wait_for_log("over_scheduler", "holds", "Running command")
    watched.replace_scheduler()
    watched.release("over_scheduler")
    watched.check("over_scheduler")


def test_what_ends_while_the_api_server_is_away(watched: Watched) -> None:
    watched.replace_scheduler()
    watched.trigger("over_api_server")
    watched.wait_for("over_api_server", "over_api_server.holds#1 started running")
    watched.wait_for_log("over_api_server", "holds", "Running command")
    watched.airflow.kill_component("api-server")
    watched.release("over_api_server")
    watched.wait_for_log("over_api_server", "holds", "return code 0")
    watched.airflow.restart_api_server()
    watched.check("over_api_server")


def test_what_ends_while_nobody_watches(watched: Watched) -> None:
    airflow = watched.airflow
    watched.replace_scheduler()
    airflow.restart_api_server(options={"webhook_notify.relay": "external"})
    first = watched.start_relay("first-relay")
    airflow.wait_until("the first one watches", watched.lease, timeout=30)
    holder = watched.lease()
    watched.start_relay("second-relay")
    assert watched.lease() == holder
    watched.trigger("over_relay")
    watched.wait_for("over_relay", "over_relay.holds#1 started running")
    airflow.kill_component(first.name)
    watched.release("over_relay")
    watched.check("over_relay")
    assert watched.lease() != holder


def test_a_heartbeat_comes_every_minute(watched: Watched) -> None:
    watched.airflow.wait_until("a ping came", lambda: watched.payloads("", webhook="beats", run_id=""), timeout=90)
    for payload in watched.payloads("", webhook="beats", run_id="").values():
        assert (payload["Topic"], payload["Data"]["Id"]) == ("webhook.ping", "beats")


def test_nothing_has_come_since(watched: Watched) -> None:
    for dag_id in sorted(watched.settled):
        watched.check_again(dag_id)


def test_every_payload_is_signed_and_valid(watched: Watched) -> None:
    watched.wait_for("fine", "fine succeeded success")
    for request in list(watched.receiver.requests):
        arrived = float(request.header("webhook-timestamp") or 0)
        verify(request.body, request.headers, SECRET, now=arrived, require_timestamp=True)
        PAYLOADS.validate(payload_of(request))


def test_every_row_has_its_test() -> None:
    assert {row.test for row in ROWS.values()} <= set(globals())
