"""What the outbox promises, on SQLite and on PostgreSQL.

Invariant: no test reads a clock; every time is given.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import pytest
from sqlalchemy import update
from sqlalchemy.exc import IntegrityError

from airflow_webhook_notify.exceptions import PayloadError
from airflow_webhook_notify.models import Attempt, Delivery, DeliveryState, Event, derived_id
from airflow_webhook_notify.outbox.records import Counts, DeliveryFilter, Hour, Traffic, WebhookStatus
from airflow_webhook_notify.outbox.tables import deliveries
from airflow_webhook_notify.retry import Disposition
from tests.integration.outboxes import DAY, HOUR, LEASE, SECOND, T0, OutboxUnderTest, ids, make_delivery

T = TypeVar("T")


def together(count: int, call: Callable[[int], T]) -> list[T]:
    """Call from as many threads at the same moment and return what each got."""
    barrier = threading.Barrier(count)

    def run(number: int) -> T:
        barrier.wait(10)
        return call(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


# Taking events in


def test_an_event_is_taken_once_and_comes_out_as_it_went_in(box: OutboxUnderTest) -> None:
    data = {
        "Airflow": {"DagId": "étl", "RunId": "r", "TaskId": "t", "MapIndex": -1, "TryNumber": 2},
        "é": ["\0", "😀", 1.5],
    }
    delivery = make_delivery(1, "ops", **data)
    first, second = (box.outbox.enqueue(delivery, now=T0 + at) for at in (0, 5))
    assert (first.delivery_id, first.created, second.created) == (delivery.id, True, False)
    (claim,) = box.claim(10)
    assert claim.delivery == delivery
    assert (claim.number, claim.step, claim.due_at, claim.created_at, claim.manual) == (1, 1, T0, T0, False)
    detail = box.outbox.delivery(delivery.id)
    assert detail is not None
    assert detail.event == delivery.event
    record = detail.record
    assert (record.dag_id, record.run_id, record.task_id, record.map_index, record.try_number) == (
        "étl",
        "r",
        "t",
        -1,
        2,
    )


def test_one_event_has_a_delivery_for_each_webhook(box: OutboxUnderTest) -> None:
    assert all(box.outbox.enqueue(make_delivery(1, webhook), now=T0).created for webhook in ("ops", "Ops", "öps"))
    assert {claim.delivery.webhook_id for claim in box.claim(0)} == {"ops", "Ops", "öps"}


def test_of_many_that_bring_the_same_event_at_once_one_creates_it(box: OutboxUnderTest) -> None:
    created = together(6, lambda _: box.outbox.enqueue(make_delivery(1), now=T0).created)
    assert sorted(created) == [False] * 5 + [True]


def test_what_the_callers_transaction_took_in_goes_with_it(box: OutboxUnderTest) -> None:
    wanted = [make_delivery(1), make_delivery(2)]
    with box.outbox.engine.connect() as connection:
        assert [each.created for each in box.outbox.enqueue_in(connection, wanted, now=T0)] == [True, True]
        connection.rollback()
    assert box.claim(0) == ()
    with box.outbox.engine.begin() as connection:
        box.outbox.enqueue_in(connection, wanted, now=T0)
    assert len(box.claim(0)) == 2


def test_text_that_no_database_stores_is_mended(box: OutboxUnderTest) -> None:
    box.outbox.enqueue(make_delivery(1, "ops", Airflow={"DagId": "a\0b\ud800", "TryNumber": 2**40}), now=T0)
    (claim,) = box.claim(0)
    result = box.result(claim, 500, at=0)
    attempt = Attempt(result.attempt.id, claim.delivery.id, 1, T0, 0.1, 500, error="x\0" * 900, response="é\0\ud800")
    box.outbox.record([replace(result, attempt=attempt)], now=T0)
    detail = box.outbox.delivery(claim.delivery.id)
    assert detail is not None
    assert (detail.record.dag_id, detail.record.try_number) == ("a�b?", None)
    assert (detail.attempts[0].response, len(detail.attempts[0].error or "")) == ("é�?", 1000)


@pytest.mark.parametrize(
    ("event_id", "webhook_id", "data", "said"),
    [
        ("e" * 65, "ops", {}, "event id"),
        ("a\0b", "ops", {}, "event id"),
        ("e", "w" * 251, {}, "webhook id"),
        ("e", "ops", {"x": float("nan")}, "JSON"),
        ("e", "ops", {"x": object()}, "JSON"),
    ],
)
def test_an_event_that_cannot_be_stored_is_refused(
    box: OutboxUnderTest, event_id: str, webhook_id: str, data: dict[str, object], said: str
) -> None:
    delivery = Delivery.of(Event(event_id, "webhook.ping", T0, "org", "webhook", data), webhook_id)
    with pytest.raises(PayloadError, match=said):
        box.outbox.enqueue(delivery, now=T0)
    assert box.claim(0) == ()


# Claims


def test_the_oldest_go_first(box: OutboxUnderTest) -> None:
    late = box.enqueue(2, at=100)
    early = box.enqueue(2, at=0, start=10)
    assert ids(box.claim(200, limit=3)) == [*early, late[0]]
    assert ids(box.claim(200)) == [late[1]]


def test_what_is_not_due_stays(box: OutboxUnderTest) -> None:
    box.enqueue(1, at=1000)
    assert box.claim(999) == ()
    assert box.outbox.next_due(now=T0) == T0 + 1000
    assert len(box.claim(1000)) == 1


def test_no_webhook_gets_more_than_its_capacity(box: OutboxUnderTest) -> None:
    for webhook_id in ("a", "b", "c"):
        box.enqueue(9, webhook_id=webhook_id)
    capacity = {"a": 2, "b": 0, "c": 5}
    claims = box.outbox.claim(now=T0 + 100, lease=LEASE, limit=100, capacity=capacity.__getitem__)
    taken = [claim.delivery.webhook_id for claim in claims]
    assert {webhook: taken.count(webhook) for webhook in capacity} == {"a": 2, "b": 0, "c": 5}


def test_a_long_line_of_one_webhook_leaves_room_for_another(box: OutboxUnderTest) -> None:
    box.enqueue(30, webhook_id="busy")
    box.enqueue(3, webhook_id="quiet", at=50)
    taken = [claim.delivery.webhook_id for claim in box.claim(100, limit=10)]
    assert (taken.count("busy"), taken.count("quiet")) == (5, 3)


def test_more_webhooks_than_the_limit(box: OutboxUnderTest) -> None:
    for number in range(7):
        box.enqueue(2, webhook_id=f"w{number}", at=number * 10)
    assert [claim.delivery.webhook_id for claim in box.claim(100, limit=3)] == ["w0", "w1", "w2"]


def test_capacity_holds_for_what_was_asked_for_and_the_rest_together(box: OutboxUnderTest) -> None:
    old = box.enqueue(3)
    asked = make_delivery(99)
    box.outbox.enqueue(asked, now=T0 + 50, manual=True)
    assert ids(box.claim(100, capacity=2)) == [asked.id, old[0]]


def test_two_that_claim_at_once_never_get_the_same(box: OutboxUnderTest) -> None:
    box.enqueue(60)
    claims = [claim for found in together(4, lambda _: box.claim(100, limit=20)) for claim in found]
    assert len(claims) == len(set(ids(claims)))
    claims += box.claim(100)
    assert len(set(ids(claims))) == 60


def test_what_is_claimed_is_nobody_elses_until_its_lease_ends(box: OutboxUnderTest) -> None:
    box.enqueue(1)
    (first,) = box.claim(0)
    assert first.expires_at == T0 + LEASE
    assert box.claim(LEASE - 1) == ()
    (second,) = box.claim(LEASE)
    assert (second.delivery.id, second.number) == (first.delivery.id, 1)
    assert second.token != first.token


def test_what_is_given_back_can_be_claimed_at_once(box: OutboxUnderTest) -> None:
    given_back, kept = box.enqueue(2)
    claims = box.claim(10)
    assert box.outbox.release(claims[:1]) == 1
    assert ids(box.claim(20)) == [given_back]
    # The first holder's token is not the row's any more.
    assert box.outbox.release(claims[:1]) == 0
    assert kept not in ids(box.claim(30))


def test_next_due_leaves_out_what_is_held_or_has_no_capacity(box: OutboxUnderTest) -> None:
    assert box.outbox.next_due(now=T0) is None
    box.enqueue(1, webhook_id="a")
    box.enqueue(1, webhook_id="b", at=500)
    assert box.outbox.next_due(now=T0) == T0
    assert box.outbox.next_due(now=T0, capacity=lambda webhook: int(webhook != "a")) == T0 + 500
    box.claim(0)
    assert box.outbox.next_due(now=T0) == T0 + 500
    assert [(each.webhook_id, each.oldest_due_at) for each in box.outbox.backlog()] == [("a", T0), ("b", T0 + 500)]


# Results


def test_a_delivered_delivery_is_done(box: OutboxUnderTest) -> None:
    (delivery_id,) = box.enqueue(1)
    recorded = box.record(box.claim(0), 204, at=40)
    assert (recorded.refused, recorded.paused) == (frozenset(), ())
    assert box.claim(10 * DAY) == ()
    detail = box.outbox.delivery(delivery_id)
    assert detail is not None
    record = detail.record
    assert (record.state, record.attempts_count, record.delivered_at) == (DeliveryState.DELIVERED, 1, T0 + 40)
    assert (record.due_at, record.leased_until, record.last_status) == (None, None, 204)
    (attempt,) = detail.attempts
    assert (attempt.id, attempt.number, attempt.status) == (derived_id(delivery_id, 1), 1, 204)
    assert (attempt.started_at, attempt.duration) == (T0 + 40, 0.25)


def test_a_failed_delivery_follows_its_schedule_and_ends_as_a_dead_letter(box: OutboxUnderTest) -> None:
    (delivery_id,) = box.enqueue(1)
    box.fail(0)
    assert box.claim(4_999) == ()
    box.fail(5_000, status=None)
    assert box.claim(304_999) == ()
    box.fail(305_000, status=503)
    assert box.claim(10 * DAY) == ()
    detail = box.outbox.delivery(delivery_id)
    assert detail is not None
    assert (detail.record.state, detail.record.attempts_count) == (DeliveryState.DEAD_LETTER, 3)
    assert (detail.record.last_status, detail.record.last_error) == (503, "answered 503")
    assert [(attempt.number, attempt.status) for attempt in detail.attempts] == [(1, 500), (2, None), (3, 503)]


def test_many_results_are_written_at_once(box: OutboxUnderTest) -> None:
    box.enqueue(30)
    claims = box.claim(100)
    results = [box.result(claim, (200, 500, 410)[number % 3], at=100) for number, claim in enumerate(claims)]
    assert box.outbox.record(results, now=T0 + 100).paused == (("ops", "the endpoint answered 410 Gone"),)
    assert box.outbox.counts() == {"ops": Counts(pending=20, delivered=10)}


def test_a_result_that_comes_after_its_lease_passed_on_is_refused(box: OutboxUnderTest) -> None:
    (delivery_id,) = box.enqueue(1)
    late = box.claim(0)
    current = box.claim(LEASE)
    assert box.record(late, 200, at=LEASE).refused == {delivery_id}
    assert box.outbox.counts() == {"ops": Counts(pending=1)}
    assert box.record(current, 500, at=LEASE).refused == frozenset()
    assert box.record(late, 200, at=LEASE).refused == {delivery_id}
    detail = box.outbox.delivery(delivery_id)
    assert detail is not None
    assert [attempt.status for attempt in detail.attempts] == [500]


def test_a_late_result_counts_where_nobody_took_over(box: OutboxUnderTest) -> None:
    box.enqueue(1)
    assert box.record(box.claim(0), 200, at=10 * LEASE).refused == frozenset()
    assert box.outbox.counts() == {"ops": Counts(delivered=1)}


def test_a_result_is_written_once_however_often_it_comes(box: OutboxUnderTest) -> None:
    (delivery_id,) = box.enqueue(1)
    claims = box.claim(0)
    refused = together(4, lambda _: box.record(claims, 200, at=1).refused)
    assert sorted(map(len, refused)) == [0, 1, 1, 1]
    detail = box.outbox.delivery(delivery_id)
    assert detail is not None
    assert len(detail.attempts) == 1


def test_nothing_to_record(box: OutboxUnderTest) -> None:
    assert box.outbox.record([], now=T0).refused == frozenset()
    assert box.outbox.release([]) == 0


@pytest.mark.parametrize(
    "values",
    [
        {"lease_token": "half"},
        {"lease_expires_at": T0},
        {"state": "delivered", "due_at": None},
        {"state": "delivered", "due_at": None, "delivered_at": T0},
        {"state": "delivered", "due_at": None, "attempts_count": 1},
        {"state": "dead_letter", "due_at": None, "lease_token": "t", "lease_expires_at": T0},
        {"due_at": None},
        {"state": "lost", "due_at": None},
        {"schedule_start": 1},
    ],
)
def test_the_database_refuses_a_row_that_cannot_be(box: OutboxUnderTest, values: dict[str, object]) -> None:
    box.enqueue(1)
    with box.outbox.engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(update(deliveries).values(values))


# Pauses


def test_a_paused_webhooks_deliveries_wait_and_go_when_it_is_resumed(box: OutboxUnderTest) -> None:
    waiting = box.enqueue(3)
    other = box.enqueue(1, webhook_id="other")
    assert box.outbox.pause("ops", "maintenance", now=T0)
    assert not box.outbox.pause("ops", "again", now=T0 + 1)
    assert box.outbox.webhook_states()["ops"] == WebhookStatus("ops", paused_at=T0, paused_reason="maintenance")
    claims = box.claim(100)
    assert ids(claims) == other
    box.record(claims, 200, at=100)
    assert box.outbox.next_due(now=T0 + 100) is None
    assert box.outbox.resume("ops", now=T0 + HOUR)
    assert not box.outbox.resume("ops", now=T0 + HOUR)
    assert ids(box.claim(HOUR + SECOND)) == waiting
    assert not box.outbox.webhook_states()["ops"].paused


def test_what_waited_goes_out_at_the_rate_and_what_came_later_behind_it(box: OutboxUnderTest) -> None:
    waited = box.enqueue(12)
    box.outbox.pause("ops", "maintenance", now=T0)
    box.outbox.resume("ops", now=T0 + HOUR)
    (fresh,) = box.enqueue(1, at=HOUR + 1, start=100)
    assert box.claim(HOUR, resume_rate=5) == ()
    assert box.outbox.next_due(now=T0 + HOUR, resume_rate=5) == T0 + HOUR + 200
    gone = []
    for at in range(HOUR + 200, HOUR + 2600, 200):
        found = ids(box.claim(at, resume_rate=5))
        assert len(found) == 1
        gone += found
    assert gone == waited
    # All of it is in a relay's hands, but not done.
    gone += ids(box.claim(HOUR + 2600, resume_rate=5))
    assert gone == [*waited, fresh]


def test_however_long_nothing_went_a_second_brings_no_more_than_the_rate(box: OutboxUnderTest) -> None:
    box.enqueue(30)
    box.outbox.pause("ops", "maintenance", now=T0)
    box.outbox.resume("ops", now=T0 + HOUR)
    assert len(box.claim(3 * HOUR, resume_rate=5)) == 5
    assert box.claim(3 * HOUR, resume_rate=5) == ()


def test_relays_keep_to_the_rate_together(box: OutboxUnderTest) -> None:
    box.enqueue(30)
    box.outbox.pause("ops", "maintenance", now=T0)
    box.outbox.resume("ops", now=T0 + HOUR)
    found = together(4, lambda _: len(box.claim(HOUR + SECOND, resume_rate=6)))
    assert sum(found) == 6


def test_a_slow_rate_still_goes_on(box: OutboxUnderTest) -> None:
    box.enqueue(3)
    box.outbox.pause("ops", "maintenance", now=T0)
    box.outbox.resume("ops", now=T0 + HOUR)
    taken = [len(box.claim(HOUR + second * SECOND, resume_rate=0.1)) for second in (0, 9, 10, 11, 20)]
    assert taken == [0, 0, 1, 0, 1]


def test_pings_and_redeliveries_go_out_although_the_webhook_is_paused(box: OutboxUnderTest) -> None:
    done, waiting = box.enqueue(2)
    box.record(box.claim(0, limit=1), 200, at=0)
    box.outbox.pause("ops", "maintenance", now=T0)
    ping = make_delivery(50)
    box.outbox.enqueue(ping, now=T0 + 10, manual=True)
    box.outbox.redeliver([done], now=T0 + 20)
    claims = box.claim(100)
    assert ids(claims) == [ping.id, done]
    assert all(claim.manual for claim in claims)
    # What fails is not asked for any more, so it waits like the rest.
    box.record(claims, 500, at=100)
    assert box.claim(DAY) == ()
    box.outbox.resume("ops", now=T0 + DAY)
    assert set(ids(box.claim(DAY + 10 * SECOND))) == {ping.id, done, waiting}


def test_gone_pauses_the_webhook_and_the_delivery_waits(box: OutboxUnderTest) -> None:
    box.enqueue(1)
    assert box.fail(0, status=410).paused == (("ops", "the endpoint answered 410 Gone"),)
    assert box.claim(DAY) == ()
    assert box.outbox.counts() == {"ops": Counts(pending=1)}
    box.outbox.resume("ops", now=T0 + DAY)
    (claim,) = box.claim(DAY + SECOND)
    assert claim.number == 2


def test_five_days_without_a_success_pause_the_webhook(box: OutboxUnderTest) -> None:
    box.enqueue(1)
    box.fail(0)
    assert box.outbox.webhook_states()["ops"].failing_since == T0
    box.enqueue(1, at=5 * DAY - 1, start=1)
    assert box.fail(5 * DAY - 1).paused == ()
    box.enqueue(1, at=5 * DAY, start=2)
    assert box.fail(5 * DAY).paused == (("ops", "no delivery succeeded for 5 days"),)
    box.outbox.resume("ops", now=T0 + 6 * DAY)
    # It has its five days again.
    assert box.fail(6 * DAY + SECOND).paused == ()


def test_a_success_in_between_keeps_the_webhook_going(box: OutboxUnderTest) -> None:
    box.enqueue(1)
    box.fail(0)
    box.record(box.claim(10 * SECOND), 200, at=4 * DAY)
    status = box.outbox.webhook_states()["ops"]
    assert (status.failing_since, status.last_success_at) == (None, T0 + 4 * DAY)
    box.enqueue(1, at=6 * DAY, start=1)
    assert box.fail(6 * DAY).paused == ()


def test_what_a_person_asked_for_says_nothing_of_the_webhooks_health(box: OutboxUnderTest) -> None:
    box.enqueue(1)
    box.fail(0)
    for number, status in ((10, 200), (11, 500)):
        box.outbox.enqueue(make_delivery(number), now=T0 + 6 * DAY, manual=True)
        manual = [claim for claim in box.claim(6 * DAY, limit=1) if claim.manual]
        assert box.record(manual, status, at=6 * DAY).paused == ()
    assert box.outbox.webhook_states()["ops"] == WebhookStatus("ops", failing_since=T0)


# Redelivery


def test_a_delivered_delivery_can_be_sent_again(box: OutboxUnderTest) -> None:
    (delivery_id,) = box.enqueue(1)
    box.record(box.claim(0), 200, at=0)
    assert box.outbox.redeliver([delivery_id, "unknown"], now=T0 + HOUR) == (delivery_id,)
    (claim,) = box.claim(HOUR)
    assert (claim.number, claim.step, claim.manual) == (2, 1, True)
    box.record([claim], 200, at=HOUR)
    detail = box.outbox.delivery(delivery_id)
    assert detail is not None
    assert (detail.record.state, detail.record.delivered_at) == (DeliveryState.DELIVERED, T0 + HOUR)
    assert [attempt.number for attempt in detail.attempts] == [1, 2]


def test_a_redelivered_dead_letter_has_the_whole_schedule_again(box: OutboxUnderTest) -> None:
    (delivery_id,) = box.enqueue(1)
    for at in (0, 5_000, 305_000):
        box.fail(at)
    box.outbox.redeliver([delivery_id], now=T0 + DAY)
    for at in (DAY, DAY + 5_000):
        box.fail(at)
        assert box.outbox.counts() == {"ops": Counts(pending=1)}
    box.fail(DAY + 305_000)
    assert box.outbox.counts() == {"ops": Counts(dead_letter=1)}


def test_a_pending_delivery_is_due_at_once(box: OutboxUnderTest) -> None:
    (delivery_id,) = box.enqueue(1)
    box.fail(0)
    assert box.outbox.redeliver([delivery_id], now=T0 + 10) == (delivery_id,)
    (claim,) = box.claim(10)
    assert (claim.number, claim.step) == (2, 1)


@pytest.mark.parametrize(("status", "after"), [(200, []), (500, [2])])
def test_a_redelivery_asked_for_during_an_attempt_comes_after_it_unless_it_succeeds(
    box: OutboxUnderTest, status: int, after: list[int]
) -> None:
    (delivery_id,) = box.enqueue(1)
    current = box.claim(0)
    assert box.outbox.redeliver([delivery_id], now=T0 + 10) == (delivery_id,)
    assert box.claim(20) == ()
    assert box.record(current, status, at=30).refused == frozenset()
    assert [claim.number for claim in box.claim(40) if claim.manual] == after


def test_dead_letters_are_redelivered_by_time_and_webhook(box: OutboxUnderTest) -> None:
    box.enqueue(2, webhook_id="a")
    box.enqueue(1, webhook_id="a", at=HOUR, start=5)
    box.enqueue(1, webhook_id="b", at=HOUR)
    delivered = box.enqueue(1, webhook_id="c", at=HOUR)
    dead = [claim for claim in box.claim(HOUR) if claim.delivery.id not in delivered]
    results = [replace(box.result(claim, 500, at=HOUR), disposition=Disposition()) for claim in dead]
    box.outbox.record(results, now=T0 + HOUR)
    assert box.outbox.redeliver_dead_letters(DeliveryFilter("a", since=T0 + 1), now=T0 + DAY) == 2
    assert box.outbox.redeliver_dead_letters(DeliveryFilter(since=T0 + 1), now=T0 + DAY) == 1
    assert box.outbox.counts()["a"] == Counts(pending=2, dead_letter=1)


def test_a_cancelled_delivery_is_never_sent_and_its_result_refused(box: OutboxUnderTest) -> None:
    in_hand, waiting, done = box.enqueue(3)
    claims = box.claim(10)
    box.record(claims[2:], 200, at=10)
    box.outbox.release(claims[1:2])
    assert set(box.outbox.cancel([in_hand, waiting, done, "unknown"])) == {in_hand, waiting}
    assert box.claim(DAY) == ()
    assert box.record(claims[:1], 200, at=20).refused == {in_hand}
    assert box.outbox.counts() == {"ops": Counts(delivered=1, cancelled=2)}


# The log


def test_pages_hold_every_delivery_once_newest_first(box: OutboxUnderTest) -> None:
    made = [*box.enqueue(3), *box.enqueue(4, webhook_id="b")]
    seen: list[str] = []
    cursor = None
    while True:
        page = box.outbox.deliveries(cursor=cursor, limit=2)
        seen += [record.id for record in page.deliveries]
        times = [record.created_at for record in page.deliveries]
        assert times == sorted(times, reverse=True)
        # What comes in between is newer, so it changes no later page.
        box.enqueue(1, webhook_id="later", at=DAY, start=len(seen))
        cursor = page.cursor
        if cursor is None:
            break
    assert sorted(seen) == sorted(made)


@pytest.mark.parametrize("cursor", ["", "x", "12", ":", "12:", "-1:a", "1:\0", "٣:a"])
def test_a_cursor_that_was_never_given_is_refused(box: OutboxUnderTest, cursor: str) -> None:
    with pytest.raises(ValueError, match="cursor"):
        box.outbox.deliveries(cursor=cursor)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (DeliveryFilter(webhook_id="a"), {1, 2}),
        (DeliveryFilter(state=DeliveryState.DELIVERED), {1}),
        (DeliveryFilter(state=DeliveryState.PENDING), {2, 3}),
        (DeliveryFilter(topic="webhook.ping"), set()),
        (DeliveryFilter(dag_id="dag-3"), {3}),
        (DeliveryFilter(run_id="run-2", webhook_id="a"), {2}),
        (DeliveryFilter(task_id="task-1", webhook_id="b"), set()),
        (DeliveryFilter(since=T0 + 2), {2, 3}),
        (DeliveryFilter(until=T0 + 2), {1}),
    ],
)
def test_the_log_is_searched_by(box: OutboxUnderTest, wanted: DeliveryFilter, found: set[int]) -> None:
    made = {}
    for number, webhook_id in ((1, "a"), (2, "a"), (3, "b")):
        reference = {"DagId": f"dag-{number}", "RunId": f"run-{number}", "TaskId": f"task-{number}"}
        delivery = make_delivery(number, webhook_id, Airflow=reference)
        box.outbox.enqueue(delivery, now=T0 + number)
        made[delivery.id] = number
    box.record(box.claim(1), 200, at=1)
    assert {made[record.id] for record in box.outbox.deliveries(wanted).deliveries} == found


def test_there_is_no_delivery_of_an_unknown_id(box: OutboxUnderTest) -> None:
    assert box.outbox.delivery("unknown") is None


@pytest.mark.parametrize(("status", "counted"), [(200, Counts(delivered=1)), (503, Counts(cancelled=1))])
def test_a_ping_that_was_sent_directly_is_in_the_log_and_not_sent_again(
    box: OutboxUnderTest, status: int, counted: Counts
) -> None:
    ping = make_delivery(1)
    attempt = Attempt(derived_id(ping.id, 1), ping.id, 1, T0, 0.25, status)
    box.outbox.log(ping, attempt, now=T0)
    assert box.outbox.counts() == {"ops": counted}
    assert box.claim(DAY) == ()
    detail = box.outbox.delivery(ping.id)
    assert detail is not None
    assert detail.attempts == (attempt,)
    assert box.outbox.webhook_states() == {}


def test_counts_since(box: OutboxUnderTest) -> None:
    box.enqueue(2)
    box.enqueue(1, at=HOUR, start=5)
    assert box.outbox.counts(since=T0 + HOUR) == {"ops": Counts(pending=1)}


def test_old_deliveries_are_pruned_in_batches_and_pending_ones_kept(box: OutboxUnderTest) -> None:
    box.enqueue(1, webhook_id="paused")
    box.outbox.pause("paused", "maintenance", now=T0)
    box.enqueue(5)
    box.record(box.claim(10), 200, at=10)
    (young,) = box.enqueue(1, at=DAY, start=9)
    box.record(box.claim(DAY), 200, at=DAY)
    assert box.outbox.prunable(before=T0 + DAY) == 5
    assert list(box.outbox.prune(before=T0 + DAY, batch=2)) == [2, 2, 1]
    assert list(box.outbox.prune(before=T0 + DAY, batch=2)) == []
    assert box.outbox.counts() == {"ops": Counts(delivered=1), "paused": Counts(pending=1)}
    detail = box.outbox.delivery(young)
    assert detail is not None
    assert len(detail.attempts) == 1


# What the API server and the commands ask for


def make_traffic(box: OutboxUnderTest) -> None:
    """Make deliveries of three webhooks in all states, in the 30 hours before `T0`."""
    box.enqueue(2, webhook_id="a", at=-30 * HOUR)
    box.enqueue(3, webhook_id="a", at=-23 * HOUR - 1, start=10)
    box.record(box.claim(-22 * HOUR), 200, at=-22 * HOUR)
    box.enqueue(2, webhook_id="a", at=-2 * HOUR, start=20)
    box.enqueue(1, webhook_id="b", at=-2 * HOUR, start=20)
    dead = box.claim(-1 * HOUR)
    results = [replace(box.result(claim, 500, at=-1 * HOUR), disposition=Disposition()) for claim in dead]
    box.outbox.record(results, now=T0 - HOUR)
    box.enqueue(4, webhook_id="a", at=-HOUR + 1, start=30)
    box.fail(-HOUR + 10)
    box.outbox.cancel(box.enqueue(1, webhook_id="a", at=-HOUR + 20, start=40))


def test_what_went_through_a_webhook_is_told_by_hour(box: OutboxUnderTest) -> None:
    make_traffic(box)
    (last,) = box.enqueue(1, webhook_id="a", at=0, start=50)
    found = box.outbox.traffic(["a", "b", "nobody"], now=T0)
    a = found["a"]
    assert (a.waiting, a.dead_letters) == (5, 2)
    busy = {hour: (each.delivered, each.failed) for hour, each in enumerate(a.hours) if each != Hour()}
    # The first of the three was taken in a millisecond before the hour of the other two.
    assert (len(a.hours), busy) == (24, {0: (1, 0), 1: (2, 0), 22: (0, 2), 23: (0, 4)})
    assert a.last_delivery is not None
    assert (a.last_delivery.id, a.last_delivery.state) == (last, DeliveryState.PENDING)
    assert (found["b"].dead_letters, found["b"].hours[22]) == (1, Hour(0, 1))
    assert found["nobody"] == Traffic()
    assert box.outbox.traffic([], now=T0) == {}


def test_a_dead_letter_that_is_sent_again_waits_and_has_not_failed(box: OutboxUnderTest) -> None:
    make_traffic(box)
    assert box.outbox.redeliver_dead_letters(DeliveryFilter("b"), now=T0) == 1
    b = box.outbox.traffic(["b"], now=T0)["b"]
    assert (b.waiting, b.dead_letters, set(b.hours)) == (1, 0, {Hour()})
    box.record(box.claim(0), 200, at=0)
    assert box.outbox.traffic(["b"], now=T0)["b"].hours[22] == Hour(1, 0)


def test_a_clock_that_was_set_back_counts_in_the_last_hour(box: OutboxUnderTest) -> None:
    box.enqueue(1, at=HOUR)
    box.fail(HOUR)
    assert box.outbox.traffic(["ops"], now=T0)["ops"].hours[23] == Hour(0, 1)


def test_the_webhooks_of_the_log_are_known_whatever_became_of_them(box: OutboxUnderTest) -> None:
    assert box.outbox.webhook_ids() == frozenset()
    make_traffic(box)
    assert box.outbox.webhook_ids() == {"a", "b"}
    (delivery,) = box.enqueue(1, webhook_id="c/d", start=60)
    assert box.outbox.webhooks_of([delivery, "nobody"]) == {delivery: "c/d"}


def test_all_that_waits_for_a_webhook_is_cancelled_in_batches(box: OutboxUnderTest) -> None:
    box.enqueue(7, webhook_id="a")
    box.enqueue(1, webhook_id="b")
    held = box.claim(0, limit=2)
    box.outbox.pause("a", "by hand", now=T0)
    assert sorted(box.outbox.cancel_waiting("a", batch=3)) == [1, 3, 3]
    assert list(box.outbox.cancel_waiting("a")) == []
    assert box.outbox.counts() == {"a": Counts(cancelled=7), "b": Counts(pending=1)}
    assert box.record([each for each in held if each.delivery.webhook_id == "a"], 200, at=1).refused
    box.outbox.forget("a")
    assert box.outbox.webhook_states(["a"]) == {}


def test_deliveries_are_found_by_map_index_try_and_any_of_several_webhooks(box: OutboxUnderTest) -> None:
    for number, (webhook_id, index, attempt) in enumerate([("a", 0, 1), ("a", 1, 1), ("b", 0, 2), ("c", 0, 1)]):
        airflow = {"DagId": "etl", "RunId": "r", "TaskId": "t", "MapIndex": index, "TryNumber": attempt}
        box.outbox.enqueue(make_delivery(number, webhook_id, Airflow=airflow), now=T0 + number)

    def found(**wanted: object) -> list[str]:
        page = box.outbox.deliveries(DeliveryFilter(**wanted))  # type: ignore[arg-type]
        return [f"{one.webhook_id}{one.map_index}{one.try_number}" for one in page.deliveries]

    assert found(map_index=0) == ["c01", "b02", "a01"]
    assert found(map_index=0, try_number=1) == ["c01", "a01"]
    assert found(webhook_ids=frozenset({"a", "b"}), map_index=0) == ["b02", "a01"]
    assert found(webhook_ids=frozenset()) == []


@pytest.mark.parametrize("cursor", ["9" * 5000 + ":x", "1:", ":x", "x", "1:a\0", ""])
def test_a_cursor_of_no_page_is_told(box: OutboxUnderTest, cursor: str) -> None:
    with pytest.raises(ValueError, match="the cursor is not one of a page of deliveries"):
        box.outbox.deliveries(cursor=cursor)
