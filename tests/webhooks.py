"""A webhook for a test: its Connection in the environment, and the credentials to search for.

Invariant: each credential here is a word that stands nowhere else, so a search that finds it found a leak.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import jsonschema
import pytest

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AUTHORIZATION = "Bearer Au7h0r1zat10nT0ken"
PATH = "/services/T0pS3cr3tPath"
QUERY = "key=T0pS3cr3tQuery"
#: What no log, exception, command or page may show.
CREDENTIALS = (SECRET, SECRET.removeprefix("whsec_"), "Au7h0r1zat10nT0ken", "T0pS3cr3tPath", "T0pS3cr3tQuery")


def connection(endpoint: str, *, secret: str | None = SECRET, **extra: object) -> dict[str, Any]:
    """The Connection as Airflow reads it from JSON."""
    return {
        "conn_type": "webhook",
        "host": endpoint,
        "password": secret,
        "description": "On call",
        "extra": {"allow_http": True, "authorization": AUTHORIZATION, **extra},
    }


def define(monkeypatch: pytest.MonkeyPatch, conn_id: str, endpoint: str, **extra: Any) -> None:
    """Define a webhook in the environment of this process."""
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(connection(endpoint, **extra)))


def validate_payload(payload: object, schema: Mapping[str, Any]) -> None:
    """Check a payload against the JSON Schema of the package."""
    jsonschema.Draft202012Validator(schema).validate(payload)


def assert_no_credentials(text: str) -> None:
    """Check that a text shows none of the credentials."""
    found = [credential for credential in CREDENTIALS if credential in text]
    assert not found, f"{found} in: {text[:2000]}"
