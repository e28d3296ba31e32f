"""Which delivery is sent next, by which of how many threads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from airflow_webhook_notify.models import Attempt, Delivery, Event, derived_id
from airflow_webhook_notify.outbox.records import Claim, Result
from airflow_webhook_notify.relay_senders import BATCH, Senders
from airflow_webhook_notify.retry import Disposition

PATIENCE = 10.0


def make_claims(count: int, webhook_id: str = "ops", *, start: int = 0, manual: bool = False) -> list[Claim]:
    made = []
    for number in range(start, start + count):
        event = Event(f"{webhook_id}-{number}", "job.execution.failed", 0, "org", "JobExecution", {})
        delivery = Delivery.of(event, webhook_id)
        made.append(Claim(delivery, 1, 1, "token", expires_at=60_000, due_at=0, created_at=0, manual=manual))
    return made


def make_result(claim: Claim, *, status: int = 200, duration: float = 1.0) -> Result:
    delivery_id = claim.delivery.id
    attempt = Attempt(derived_id(delivery_id, 1), delivery_id, 1, 0, duration, status=status)
    return Result(claim, attempt, Disposition(delivered=status == 200, due_at=None if status == 200 else 1))


def events_of(claims: list[Claim]) -> list[str]:
    return [claim.delivery.event.id for claim in claims]


@dataclass
class Endpoints:
    """Stands in for the network: each attempt waits until it is let go."""

    hanging: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    begun: list[Claim] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    most: Counter[str] = field(default_factory=Counter)
    now: Counter[str] = field(default_factory=Counter)
    most_in_all: int = 0

    def attempt(self, claim: Claim) -> Result | None:
        webhook_id = claim.delivery.webhook_id
        with self.changed:
            self.begun.append(claim)
            self.now[webhook_id] += 1
            self.most[webhook_id] = max(self.most[webhook_id], self.now[webhook_id])
            self.most_in_all = max(self.most_in_all, self.now.total())
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: webhook_id not in self.hanging, PATIENCE)
            self.now[webhook_id] -= 1
        return make_result(claim, status=500 if webhook_id in self.failing else 200)

    def let_go(self, *webhook_ids: str) -> None:
        with self.changed:
            self.hanging.difference_update(webhook_ids)
            self.changed.notify_all()

    def wait_for(self, count: int, webhook_id: str) -> list[Claim]:
        def begun() -> list[Claim]:
            return [claim for claim in self.begun if claim.delivery.webhook_id == webhook_id]

        with self.changed:
            assert self.changed.wait_for(lambda: len(begun()) >= count, PATIENCE), f"{len(begun())} of {count} began"
            return begun()


@contextmanager
def sending(endpoints: Endpoints, *, in_flight: int = 8, each: int = 4) -> Iterator[Senders]:
    senders = Senders(endpoints.attempt, call=lambda: None, in_flight=in_flight, in_flight_per_webhook=each)
    try:
        yield senders
    finally:
        senders.close()
        endpoints.let_go(*endpoints.hanging)
        assert senders.wait_until_quiet(PATIENCE)


def test_what_goes_in_comes_out_once_in_its_order() -> None:
    endpoints, claims = Endpoints(), make_claims(50)
    with sending(endpoints, in_flight=1) as senders:
        senders.submit(claims)
        endpoints.wait_for(50, "ops")
        assert senders.wait_until_quiet(PATIENCE)
        results, returned = senders.fetch()

    assert events_of([result.claim for result in results]) == events_of(claims)
    assert returned == []
    assert senders.fetch() == ([], [])
    assert senders.held == 0


def test_a_webhook_never_has_more_attempts_at_once_than_its_cap() -> None:
    endpoints = Endpoints()
    with sending(endpoints, each=3) as senders:
        senders.submit(make_claims(200))
        endpoints.wait_for(200, "ops")

    assert 0 < endpoints.most["ops"] <= 3


def test_dead_endpoints_never_get_more_than_three_quarters_of_all() -> None:
    dead = [f"dead-{number}" for number in range(10)]
    endpoints = Endpoints(hanging=set(dead), failing=set(dead))
    with sending(endpoints, in_flight=8) as senders:
        for webhook_id in dead:
            senders.submit(make_claims(5, webhook_id))
        endpoints.wait_for(1, "dead-5")
        endpoints.let_go(*dead)
        for webhook_id in dead:
            endpoints.wait_for(5, webhook_id)

    assert endpoints.most_in_all == 6


def test_a_healthy_webhook_goes_on_beside_dead_ones() -> None:
    dead = [f"dead-{number}" for number in range(10)]
    endpoints = Endpoints(hanging=set(dead))
    with sending(endpoints, in_flight=8) as senders:
        senders.submit(make_claims(1, "healthy"))
        endpoints.wait_for(1, "healthy")
        assert senders.wait_until_quiet(PATIENCE)
        for webhook_id in dead:
            senders.submit(make_claims(5, webhook_id))
        endpoints.wait_for(1, "dead-1")
        senders.submit(make_claims(100, "healthy", start=1))

        assert len(endpoints.wait_for(101, "healthy")) == 101
        assert len([claim for claim in endpoints.begun if claim.delivery.webhook_id in dead]) <= 6


def test_webhooks_take_turns() -> None:
    endpoints = Endpoints(hanging={"a"})
    with sending(endpoints, in_flight=1) as senders:
        senders.submit([*make_claims(3, "a"), *make_claims(3, "b")])
        endpoints.wait_for(1, "a")
        endpoints.let_go("a")
        endpoints.wait_for(3, "b")
        endpoints.wait_for(3, "a")

    assert [claim.delivery.webhook_id for claim in endpoints.begun] == ["a", "b", "a", "b", "a", "b"]


def test_room_is_what_the_pace_holds_less_what_is_here() -> None:
    endpoints = Endpoints(hanging={"ops"})
    with sending(endpoints, in_flight=128, each=32) as senders:
        assert senders.room("ops") == 1
        senders.submit(make_claims(2))
        assert senders.room("ops") == 0
        endpoints.wait_for(1, "ops")
        assert senders.room("ops") == 0
        endpoints.let_go("ops")
        endpoints.wait_for(2, "ops")
        assert senders.wait_until_quiet(PATIENCE)
        # Two successes of a second each: four at once, and half a second ahead.
        assert senders.room("ops") == 4 + 2


def test_what_is_withdrawn_comes_back_but_for_what_a_person_asked_for() -> None:
    endpoints = Endpoints(hanging={"ops"})
    asked, ordinary = make_claims(2, start=10, manual=True), make_claims(5)
    with sending(endpoints) as senders:
        senders.submit([*ordinary, *asked])
        endpoints.wait_for(1, "ops")
        senders.withdraw("ops")
        _, returned = senders.fetch()
        endpoints.let_go("ops")
        sent = endpoints.wait_for(3, "ops")

    assert returned == ordinary[1:]
    assert set(events_of(sent)) == set(events_of([*ordinary[:1], *asked]))


def test_everything_that_waits_comes_back_at_the_end() -> None:
    endpoints = Endpoints(hanging={"ops", "other"})
    claims = [*make_claims(5), *make_claims(3, "other", manual=True)]
    with sending(endpoints, in_flight=2) as senders:
        senders.submit(claims)
        endpoints.wait_for(1, "ops")
        senders.withdraw_all()
        _, returned = senders.fetch()
        begun = len(endpoints.begun)

    assert len(returned) + begun == 8
    assert not set(events_of(returned)) & set(events_of(endpoints.begun))


def test_an_attempt_that_was_not_begun_is_given_back() -> None:
    done = threading.Event()

    def attempt(claim: Claim) -> Result | None:
        done.set()
        return None

    senders = Senders(attempt, call=lambda: None, in_flight=1, in_flight_per_webhook=1)
    claims = make_claims(1)
    senders.submit(claims)
    assert done.wait(PATIENCE)
    assert senders.wait_until_quiet(PATIENCE)
    senders.close()

    assert senders.fetch() == ([], claims)


def test_a_defect_in_an_attempt_gives_the_claim_back_and_is_told(caplog: pytest.LogCaptureFixture) -> None:
    begun = threading.Semaphore(0)

    def attempt(claim: Claim) -> Result | None:
        begun.release()
        raise RuntimeError("defect")

    senders = Senders(attempt, call=lambda: None, in_flight=1, in_flight_per_webhook=1)
    claims = make_claims(3)
    senders.submit(claims)
    assert all(begun.acquire(timeout=PATIENCE) for _ in claims)
    assert senders.wait_until_quiet(PATIENCE)
    senders.close()

    assert senders.fetch() == ([], claims)
    assert caplog.text.count("ended in a defect of this package") == 3


def test_the_relay_is_called_for_a_batch_and_before_a_webhook_runs_out() -> None:
    calls = threading.Semaphore(0)
    endpoints = Endpoints()
    senders = Senders(endpoints.attempt, call=calls.release, in_flight=4, in_flight_per_webhook=4)
    try:
        senders.submit(make_claims(BATCH - 1))
        endpoints.wait_for(BATCH - 1, "ops")
        assert senders.wait_until_quiet(PATIENCE)
        assert not calls.acquire(blocking=False)
        senders.submit(make_claims(1, start=BATCH))
        assert calls.acquire(timeout=PATIENCE)
        senders.fetch()
        assert not senders.hungry
        senders.submit(make_claims(1, start=BATCH + 1), more={"ops"})
        assert calls.acquire(timeout=PATIENCE)
        assert senders.hungry
    finally:
        senders.close()
