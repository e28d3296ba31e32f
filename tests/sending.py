"""A webhook, a delivery and a client that may reach the loopback, for tests that send.

Invariant: the path of every endpoint made here holds `SECRET_PATH`, so a test can look for it where it must not be.
"""

from __future__ import annotations

import ipaddress
from typing import Any

from airflow_webhook_notify.addresses import Network
from airflow_webhook_notify.models import Attempt, Delivery, Event, SigningSecret, Webhook
from airflow_webhook_notify.topics import FAILED

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECRET_PATH = "/T0KEN-in-path?key=T0KEN-in-query"
LOOPBACK: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
EVENT = Event(
    id="0b6d8f5e-8c15-5b0e-9d6c-4ff5f3a3f6a1",
    topic=FAILED,
    created_at=1590591051225,
    organization_id="data-platform",
    resource="JobExecution",
    data={"JobId": "etl.load", "State": "failed"},
)
DELIVERY = Delivery.of(EVENT, "ops")


def make_webhook(endpoint: str, **changes: Any) -> Webhook:
    """Return a webhook that accepts plain `http`, since most servers in tests speak it."""
    settings: dict[str, Any] = {"allow_http": True, "connect_timeout": 5.0, "timeout": 10.0}
    return Webhook(id="ops", endpoint=endpoint, secrets=(SigningSecret(SECRET),), **{**settings, **changes})


def assert_tells_no_secret(attempt: Attempt) -> None:
    """Fail where the attempt's error, or its repr, holds a part of the endpoint's path or a credential."""
    for text in (attempt.error or "", repr(attempt)):
        assert "T0KEN" not in text
        assert SECRET not in text
