"""The commands that change what is in the outbox, on a real metadata database."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator

import pytest
from airflow.models.log import Log
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_webhook_notify.models import DeliveryState, derived_id
from airflow_webhook_notify.outbox.store import Outbox
from tests.integration.cli import Run, make_run
from tests.integration.deliveries import (
    attempt_all,
    claim,
    clear_all,
    clear_outbox,
    enqueue,
    make_dead_letters,
    make_event,
    state_of,
)

#: 2023-11-14T22:13:20Z
T0 = 1_700_000_000_000
HOUR, DAY = 3_600_000, 86_400_000
UNKNOWN = derived_id("none")
PENDING, DEAD_LETTER = DeliveryState.PENDING, DeliveryState.DEAD_LETTER


@pytest.fixture(autouse=True)
def _database(airflow_db: None) -> Iterator[None]:
    clear_outbox()
    yield
    clear_all()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return make_run(capsys, monkeypatch)


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets a person type."""

    def set_input(text: str) -> None:
        monkeypatch.setattr("sys.stdin", io.StringIO(text))

    return set_input


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def known(delivery_id: str) -> bool:
    return Outbox().delivery(delivery_id) is not None


# --- redeliver ------------------------------------------------------------------------------------------------


def test_deliveries_are_due_at_once_whatever_state_they_were_in(run: Run) -> None:
    delivered = enqueue(make_event(10), now=T0)
    attempt_all(T0, 200)
    (dead,) = make_dead_letters(1, now=T0)
    waiting = enqueue(make_event(11), now=now_ms() + HOUR)
    ended = run("redeliver", delivered, dead, waiting, dead)
    assert (ended.code, ended.out, ended.err) == (0, "3 deliveries due now.\n", "")
    assert {each.delivery.id for each in claim(now_ms())} == {delivered, dead, waiting}


def test_unknown_ids_are_named_and_the_others_are_sent_again(run: Run) -> None:
    (dead,) = make_dead_letters(1, now=T0)
    ended = run("redeliver", UNKNOWN, dead, "no-id", "-o", "json")
    assert ended.code == 1
    assert ended.row == {"redelivered": 1, "unknown": [UNKNOWN, "no-id"]}
    assert ended.err == f"Error: There is no delivery '{UNKNOWN}', 'no-id'\n"
    assert state_of(dead) is PENDING


def test_many_ids_are_no_matter(run: Run) -> None:
    (dead,) = make_dead_letters(1, now=T0)
    ended = run("redeliver", *(derived_id(number) for number in range(2500)), dead, "-o", "json")
    assert (ended.code, ended.row["redelivered"], len(ended.row["unknown"])) == (1, 1, 2500)


@pytest.mark.parametrize(
    ("arguments", "advice"),
    [
        ([], "give the ids of deliveries, or --dead-letters with --since"),
        ([UNKNOWN, "--dead-letters"], "give the ids of deliveries, or --dead-letters with --since"),
        ([UNKNOWN, "--webhook", "ops"], "leave them out where you give ids"),
        (["--dead-letters"], "say with --since how far back, such as --since 2d"),
    ],
)
def test_what_to_send_again_has_to_be_said(run: Run, arguments: list[str], advice: str) -> None:
    ended = run("redeliver", *arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert advice in ended.err


def test_dead_letters_are_counted_before_they_are_asked_for(run: Run, type_in: Callable[[str], None]) -> None:
    now = now_ms()
    old = make_dead_letters(1, now=now - 3 * DAY)
    clear = make_dead_letters(2, now=now - DAY, webhook_id="crm")
    type_in("y\n")
    ended = run("redeliver", "--dead-letters", "--since", "2d")
    assert (ended.code, ended.out) == (0, "2 deliveries due now.\n")
    assert ended.err.startswith("2 dead letters taken in since 20")
    assert ended.err.endswith("(crm 2). Send them again? [y/N] ")
    assert [state_of(each) for each in (*old, *clear)] == [DEAD_LETTER, PENDING, PENDING]


@pytest.mark.parametrize("answer", ["n\n", "\n", "yes please\n", ""])
def test_no_other_answer_than_yes_sends(run: Run, type_in: Callable[[str], None], answer: str) -> None:
    (dead,) = make_dead_letters(1, now=now_ms() - HOUR)
    type_in(answer)
    ended = run("redeliver", "--dead-letters", "--since", "2d")
    assert (ended.code, ended.out) == (1, "")
    assert ("cancelled; nothing was changed" if answer else "--yes goes on without one") in ended.err
    assert state_of(dead) is DEAD_LETTER


def test_yes_asks_nothing_and_a_webhook_narrows(run: Run, type_in: Callable[[str], None]) -> None:
    type_in("")
    (ours,) = make_dead_letters(1, now=now_ms() - HOUR)
    (theirs,) = make_dead_letters(1, now=now_ms() - HOUR, webhook_id="crm")
    ended = run("redeliver", "--dead-letters", "--since", "2d", "--webhook", "crm", "--yes", "-o", "json")
    assert (ended.code, ended.row, ended.err) == (0, {"redelivered": 1, "unknown": []}, "")
    assert (state_of(ours), state_of(theirs)) == (DEAD_LETTER, PENDING)


def test_no_dead_letters_is_no_error_and_asks_nothing(run: Run, type_in: Callable[[str], None]) -> None:
    type_in("")
    ended = run("redeliver", "--dead-letters", "--since", "2d")
    assert (ended.code, ended.out, ended.err) == (0, "Nothing to send again.\n", "")


# --- pause and resume -----------------------------------------------------------------------------------------


def test_a_paused_webhooks_deliveries_wait_until_it_is_resumed(run: Run) -> None:
    run("add", "ops", "--endpoint", "https://example.org/")
    enqueue(make_event(), now=T0)
    paused = run("pause", "ops", "--reason", "the CRM moves")
    assert (paused.code, paused.err) == (0, "")
    assert paused.out == "'ops' is paused: its deliveries wait, pings and redeliveries still go.\n"
    assert claim(now_ms()) == ()
    assert run("list", "-o", "json").row["state"] == "paused: the CRM moves"
    resumed = run("resume", "ops")
    assert (resumed.code, resumed.err) == (0, "")
    assert resumed.out == "'ops' is resumed. 1 delivery waiting: oldest first, at most 20 a second.\n"
    # The rate lets the first one go after a twentieth of a second.
    assert len(claim(now_ms() + 1000)) == 1
    assert run("list", "-o", "json").row["state"] == "ok"


def test_a_second_pause_changes_nothing_and_says_since_when(run: Run) -> None:
    run("add", "ops", "--endpoint", "https://example.org/")
    Outbox().pause("ops", "the endpoint answered 410 Gone", now=T0)
    again = run("pause", "ops", "--reason", "other")
    assert (again.code, again.err) == (0, "")
    assert again.out == "'ops' was paused before, since 2023-11-14 22:13:20 UTC: the endpoint answered 410 Gone\n"


def test_programs_are_told_the_state(run: Run) -> None:
    run("add", "ops", "--endpoint", "https://example.org/")
    assert run("pause", "ops", "-o", "json").row == {"conn_id": "ops", "paused": True}
    assert run("resume", "ops", "-o", "json").row == {"conn_id": "ops", "paused": False}


def test_resuming_what_was_not_paused_is_no_error(run: Run) -> None:
    run("add", "ops", "--endpoint", "https://example.org/")
    assert run("resume", "ops").out == "'ops' was not paused.\n"


def test_a_webhook_whose_connection_is_gone_can_be_resumed(run: Run) -> None:
    Outbox().pause("gone", "410", now=T0)
    assert run("resume", "gone").code == 0


@pytest.mark.parametrize("command", ["pause", "resume"])
def test_an_unknown_webhook_is_one_line_and_status_1(run: Run, command: str) -> None:
    ended = run(command, "nobody")
    assert (ended.code, ended.out, ended.err.count("\n")) == (1, "", 1)
    assert ended.err.startswith("Error: Connection 'nobody': ")
    assert Outbox().webhook_states() == {}


def test_show_tells_of_pause_failure_and_what_waits(run: Run) -> None:
    run("add", "ops", "--endpoint", "https://example.org/")
    fresh = run("show", "ops", "-o", "json").row
    assert (fresh["state"], fresh["failing_since"], fresh["pending"], fresh["dead_letters"]) == ("ok", None, 0, 0)
    make_dead_letters(2, now=T0)
    enqueue(make_event(5), now=T0 + HOUR)
    failing = run("show", "ops", "-o", "json").row
    assert failing["state"] == "failing since 2023-11-14 22:13:20 UTC"
    assert (failing["failing_since"], failing["last_success"]) == ("2023-11-14 22:13:20 UTC", None)
    assert (failing["pending"], failing["dead_letters"], failing["paused_since"]) == (1, 2, None)
    run("pause", "ops")
    paused = run("show", "ops", "-o", "json").row
    assert paused["state"] == "paused: by hand"
    assert paused["paused_since"].startswith("20")


# --- clean ----------------------------------------------------------------------------------------------------


def test_old_deliveries_are_deleted_and_what_waits_is_not(run: Run) -> None:
    now = now_ms()
    old = make_dead_letters(3, now=now - 40 * DAY)
    waiting = enqueue(make_event(5), now=now - 40 * DAY)
    young = enqueue(make_event(6), now=now - 20 * DAY)
    cleaned = run("clean", "--yes", "-o", "json")
    assert (cleaned.code, cleaned.row, cleaned.err) == (0, {"found": 3, "deleted": 3}, "")
    assert [known(each) for each in (*old, waiting, young)] == [False, False, False, True, True]


def test_clean_counts_asks_and_deletes_with_older_than(run: Run, type_in: Callable[[str], None]) -> None:
    make_dead_letters(2, now=now_ms() - 2 * DAY)
    type_in("y\n")
    cleaned = run("clean", "--older-than", "1d")
    assert (cleaned.code, cleaned.out) == (0, "Deleted 2 deliveries.\n")
    assert cleaned.err.startswith("2 deliveries that ended, taken in before 20")
    assert cleaned.err.endswith(" UTC. Delete them with their attempts? [y/N] ")


def test_clean_deletes_nothing_where_nobody_agrees(run: Run, type_in: Callable[[str], None]) -> None:
    (old,) = make_dead_letters(1, now=now_ms() - 40 * DAY)
    type_in("n\n")
    assert run("clean").code == 1
    assert known(old)


def test_a_dry_run_says_how_many_and_deletes_nothing(run: Run) -> None:
    (old,) = make_dead_letters(1, now=now_ms() - 40 * DAY)
    dry = run("clean", "--dry-run", "--yes")
    assert (dry.code, dry.err) == (0, "")
    assert dry.out.startswith("1 delivery that ended, taken in before 20")
    assert dry.out.endswith(" UTC: nothing was deleted.\n")
    assert known(old)


def test_the_default_age_is_the_retention(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__RETENTION", "90")
    make_dead_letters(1, now=now_ms() - 40 * DAY)
    assert run("clean", "--dry-run", "-o", "json").row == {"found": 0, "deleted": 0}
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__RETENTION", "forever")
    bad = run("clean", "--dry-run")
    assert (bad.code, bad.out) == (1, "")
    assert bad.err.startswith("Error: [webhook_notify] retention: ")


def test_more_than_one_batch_is_deleted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow_webhook_notify.administration.BATCH", 2)
    make_dead_letters(5, now=now_ms() - 40 * DAY)
    assert run("clean", "--yes", "-o", "json").row == {"found": 5, "deleted": 5}


# --- the audit log --------------------------------------------------------------------------------------------


def test_the_audit_log_tells_who_changed_what(run: Run) -> None:
    run("add", "ops", "--endpoint", "https://example.org/")
    run("pause", "ops", "--reason", "maintenance")
    run("redeliver", UNKNOWN)
    run("clean", "--older-than", "30d", "--yes")
    run("deliveries", "--since", "2d")
    with create_session(scoped=False) as session:
        rows = [(row.event, json.loads(str(row.extra))["full_command"]) for row in session.scalars(select(Log))]
    assert [event for event, _ in rows] == [
        "cli_webhooks_add", "cli_webhooks_pause", "cli_webhooks_redeliver", "cli_webhooks_clean"
    ]  # fmt: skip
    assert "'pause', 'ops'" in rows[1][1]
    assert "'--reason', 'maintenance'" in rows[1][1]
    assert f"'redeliver', '{UNKNOWN}'" in rows[2][1]
    assert "'--older-than', '2592000000'" in rows[3][1]
