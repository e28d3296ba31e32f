"""What one process may spend on webhooks.

Invariant: by value; no clock is read.
"""

from __future__ import annotations

from airflow_webhook_notify.budget import Budget


def test_what_is_spent_is_no_longer_there() -> None:
    budget = Budget(seconds=10, window=60)
    assert budget.remaining(now=0) == 10
    budget.spend(4, now=4)
    budget.spend(5, now=9)
    assert budget.remaining(now=9) == 1
    budget.spend(5, now=14)
    assert budget.remaining(now=14) == 0


def test_what_was_spent_is_forgotten_after_the_window() -> None:
    budget = Budget(seconds=10, window=60)
    budget.spend(4, now=4)
    budget.spend(5, now=9)
    assert budget.remaining(now=63.9) == 1
    assert budget.remaining(now=64) == 5
    assert budget.remaining(now=69) == 10


def test_no_window_ever_holds_more_than_the_budget() -> None:
    budget, spent, now = Budget(seconds=10, window=60), [], 0.0
    for step in range(200):
        amount = min(3.0, budget.remaining(now=now))
        now += amount
        budget.spend(amount, now=now)
        spent.append((now, amount))
        assert sum(seconds for at, seconds in spent if at > now - 60) <= 10
        now += step % 7
