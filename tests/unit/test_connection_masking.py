"""What Airflow masks of a webhook's Connection can be saved again from its connection page unharmed.

Invariant: what the API server shows as `***` is what it puts back when the form is saved.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest
from airflow._shared.secrets_masker import merge, redact

from airflow_webhook_notify.connection import parse_webhook
from airflow_webhook_notify.exceptions import ConfigurationError


@dataclass
class Conn:
    """A Connection as Airflow hands it over."""

    extra: str | None
    conn_id: str = "ops"
    conn_type: str | None = "webhook"
    description: str | None = None
    host: str | None = "https://hooks.example.com/services/T0pS3cr3tPath"
    password: str | None = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


EXTRA: dict[str, Any] = {
    "authorization": "Bearer Au7h0r1zat10nT0ken",
    "topics": ["job.execution.failed"],
    "dags": ["etl_*"],
    "headers": {"X-Routing": "region-eu-west-1/blue", "X-Api-Key": "4p1K3y0fS0meLength"},
    "proxy": "http://user:pr0xyPassw0rd@proxy.example.com:3128",
    "previous_secrets": [
        {"secret": "an older secret", "expires_at": 1700000000000},
        {"secret": "the oldest secret", "expires_at": 1690000000000},
    ],
}


def test_the_form_gets_no_credential_and_saves_what_it_was_not_shown() -> None:
    # The API server's own masker knows a webhook once the server has read it: for a ping, say.
    parse_webhook(Conn(extra=json.dumps(EXTRA)))
    shown: Any = redact(EXTRA)
    assert shown == {
        **EXTRA,
        "authorization": "***",
        "headers": {**EXTRA["headers"], "X-Api-Key": shown["headers"]["X-Api-Key"]},  # 3.2 shows it, 3.3 masks it
        "proxy": "***",
        "previous_secrets": [
            {"secret": "***", "expires_at": 1700000000000},
            {"secret": "***", "expires_at": 1690000000000},
        ],
    }
    saved: Any = merge(shown, EXTRA)
    assert saved == EXTRA


def test_headers_are_masked_in_the_logs_of_tasks() -> None:
    from airflow.sdk.log import redact as redact_in_tasks  # type: ignore[attr-defined]

    parse_webhook(Conn(extra=json.dumps(EXTRA)))
    assert redact_in_tasks("sent region-eu-west-1/blue") == "sent ***"


@pytest.mark.parametrize("extra", ["[" * 100_000, "{", "[1]", '"text"'])
def test_an_extra_that_is_no_object_is_refused_and_not_stumbled_over(extra: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^Extra: is not"):
        parse_webhook(Conn(extra=extra))
