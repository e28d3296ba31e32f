"""The REST API on a real API server: what a person does with a webhook, from making it to deleting it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from airflow_webhook_notify.signing import verify
from tests.acceptance.airflow_under_test import AirflowUnderTest
from tests.acceptance.webhooks import payload_of
from tests.servers import RecordingServer, Request

STARTED, SUCCEEDED = "job.execution.started", "job.execution.succeeded"
WEBHOOK = "rest/plain"


@dataclass(frozen=True)
class Program:
    """A program that is signed in."""

    airflow: AirflowUnderTest
    token: str

    @classmethod
    def sign_in(cls, airflow: AirflowUnderTest) -> Program:
        """Get a token as Airflow's documentation says."""
        answer = requests.get(f"{airflow.url}/auth/token", timeout=30)
        answer.raise_for_status()
        return cls(airflow, answer.json()["access_token"])

    def ask(self, method: str, path: str, json: object = None) -> Any:
        """Return what is answered."""
        headers = {"Authorization": f"Bearer {self.token}"}
        url = f"{self.airflow.url}/webhook-notify/v1/{path}"
        answer = requests.request(method, url, headers=headers, json=json, timeout=60)
        assert answer.status_code < 300, answer.text
        return answer.json()

    def wait_for(self, what: str, found: Callable[[list[dict[str, Any]]], bool], path: str) -> list[dict[str, Any]]:
        """Return deliveries once they are as wanted."""

        def look() -> list[dict[str, Any]] | None:
            deliveries: list[dict[str, Any]] = self.ask("GET", path)["deliveries"]
            return deliveries if found(deliveries) else None

        return self.airflow.wait_until(what, look, timeout=60)


def signed_with(request: Request, *secrets: str) -> bool:
    """Return whether each of the secrets signed a request."""
    return all(verify(request.body, request.headers, each, require_timestamp=True).id for each in secrets)


def is_subscribed(airflow: AirflowUnderTest) -> bool:
    """Return whether the watcher has noticed the webhook."""
    engine = create_engine(airflow.database_url, poolclass=NullPool)
    with engine.connect() as connection:
        wanted = text("SELECT count(*) FROM webhook_notify_subscription WHERE webhook_id = :webhook_id")
        return connection.execute(wanted, {"webhook_id": WEBHOOK}).scalar() == 1


def test_a_webhook_lives_and_ends_by_rest(airflow: AirflowUnderTest) -> None:
    program = Program.sign_in(airflow)
    with RecordingServer() as receiver:
        settings = {"endpoint": receiver.url("/hook"), "allow_http": True, "dags": ["plain"]}
        made = program.ask("POST", "webhooks", {"id": WEBHOOK, **settings})
        secret, path = made["secret"], f"webhooks/{WEBHOOK.replace('/', '%2F')}"

        ping = program.ask("POST", f"{path}/ping")
        (pinged,) = receiver.requests
        assert (ping["status"], ping["event_id"]) == (200, payload_of(pinged)["Id"])
        assert signed_with(pinged, secret)

        # It hears of what happens from then on.
        airflow.wait_until("the watcher subscribes it", lambda: is_subscribed(airflow), timeout=30)
        assert program.ask("POST", f"{path}/pause", {"reason": "maintenance"})["state_reason"] == "maintenance"
        airflow.trigger("plain", run_id="by-rest")
        of_run = f"deliveries?webhook={WEBHOOK}&dag=plain&run=by-rest"
        waiting = program.wait_for("both events wait", lambda found: len(found) == 2, of_run)
        assert {(one["topic"], one["state"], one["webhook_paused"]) for one in waiting} == {
            (STARTED, "pending", True),
            (SUCCEEDED, "pending", True),
        }
        assert len(receiver.requests) == 1

        rotated = program.ask("POST", f"{path}/rotate-secret", {"overlap": 3600})
        assert program.ask("POST", f"{path}/resume")["state"] == "active"
        delivered = program.wait_for(
            "both were delivered", lambda found: [one["state"] for one in found] == ["delivered"] * 2, of_run
        )
        sent = receiver.wait_for(3)[1:]
        assert {payload_of(request)["Topic"] for request in sent} == {STARTED, SUCCEEDED}
        assert all(signed_with(request, secret, rotated["secret"]) for request in sent)

        again = delivered[0]["id"]
        assert program.ask("POST", f"deliveries/{again}/redeliver") == {"redelivered": 1, "unknown": []}
        assert payload_of(receiver.wait_for(4)[3])["Id"] == delivered[0]["event_id"]
        attempts = airflow.wait_until(
            "both attempts are in the log",
            lambda: (found := program.ask("GET", f"deliveries/{again}"))["attempts"][1:] and found["attempts"],
            timeout=30,
        )
        assert [(each["number"], each["status"]) for each in attempts] == [(1, 200), (2, 200)]

        assert program.ask("DELETE", path) == {"id": WEBHOOK, "cancelled": 0}
        assert WEBHOOK not in {one["id"] for one in program.ask("GET", "webhooks")["webhooks"]}
        assert len(program.ask("GET", of_run)["deliveries"]) == 2
