"""What `make demo` exits with."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.demo import EXPECTED, KILLED, SUBSCRIBED, judge, judge_subscribed


def received(topic: str, job: str, *, verified: bool = True, cause: str = "killed") -> dict[str, Any]:
    """Return one line of `airflow webhooks listen --output json`."""
    told = {"Airflow": {"Cause": cause}, "LastAttempt": {"Message": "it was killed"}}
    data = {"Id": job} if topic == "webhook.ping" else {"Id": "1", "JobId": job, **told}
    dialect = "standard-webhooks" if verified else None
    return {
        "id": f"{topic} {job}",
        "topic": topic,
        "verified": verified,
        "dialect": dialect,
        "headers": {},
        "payload": {"Data": data},
    }


def test_it_succeeds_when_all_events_came_and_verified() -> None:
    assert judge([received(*expected) for expected in EXPECTED]) == 0


@pytest.mark.parametrize("missing", EXPECTED, ids=" ".join)
def test_it_fails_when_one_did_not_come(missing: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert judge([received(*expected) for expected in EXPECTED if expected != missing]) == 1
    assert f"Missing: ['{missing[0]} of {missing[1]}']" in capsys.readouterr().out


def test_it_fails_when_one_did_not_verify(capsys: pytest.CaptureFixture[str]) -> None:
    everything = [received(*expected) for expected in EXPECTED]
    assert judge([*everything, received("webhook.ping", "demo", verified=False)]) == 1
    assert "not verified: ['webhook.ping demo']" in capsys.readouterr().out


def test_the_subscribed_webhook_succeeds_when_the_killed_task_is_told_of() -> None:
    assert judge_subscribed([received(*expected) for expected in SUBSCRIBED]) == 0


@pytest.mark.parametrize("missing", SUBSCRIBED, ids=" ".join)
def test_it_fails_when_one_of_its_events_did_not_come(missing: tuple[str, str]) -> None:
    assert judge_subscribed([received(*expected) for expected in SUBSCRIBED if expected != missing]) == 1


@pytest.mark.parametrize("more", [received(*KILLED), received(*KILLED, verified=False)], ids=["twice", "forged"])
def test_it_fails_when_the_killed_task_is_told_of_again(more: dict[str, Any]) -> None:
    assert judge_subscribed([*(received(*expected) for expected in SUBSCRIBED), more]) == 1


def test_it_fails_when_the_event_does_not_say_that_the_task_was_killed() -> None:
    assert judge_subscribed([received(*expected, cause="unknown") for expected in SUBSCRIBED]) == 1
