"""What `make demo` exits with."""

from __future__ import annotations

from typing import Any

import pytest

from tests.acceptance.demo import EXPECTED, judge


def received(topic: str, job: str, *, verified: bool = True) -> dict[str, Any]:
    """Return one line of `airflow webhooks listen --output json`."""
    data = {"Id": job} if topic == "webhook.ping" else {"Id": "1", "JobId": job}
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
