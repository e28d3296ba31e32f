"""Signs of life, on each database."""

from __future__ import annotations

import time

from tests.integration.outboxes import LEASE, T0, OutboxUnderTest


def test_what_relays_hold_is_counted_while_they_hold_it(box: OutboxUnderTest) -> None:
    box.enqueue(3)
    assert box.outbox.leased(now=T0) == 0
    claims = box.claim(10, limit=2)
    assert box.outbox.leased(now=T0 + 10) == 2
    assert box.outbox.leased(now=T0 + 10 + LEASE) == 0
    box.record(claims[:1], 200, at=20)
    assert box.outbox.leased(now=T0 + 20) == 1


def test_the_databases_clock_is_in_milliseconds(box: OutboxUnderTest) -> None:
    # All of them run on this machine.
    assert abs(box.outbox.clock() - time.time() * 1000) < 10_000
