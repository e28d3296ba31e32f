"""Libraries that others wrote take what we sign, and refuse it once it is changed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping

import pytest

from airflow_webhook_notify.signing import generate_secret, sign
from tests.verifiers import (
    RefusedError,
    require_node,
    verify_with_node_standardwebhooks,
    verify_with_octokit,
    verify_with_standardwebhooks,
)

Verifier = Callable[[bytes, Mapping[str, str], str], None]

EVENT = "5f1b2c7e-2f6d-5a3c-9c07-2f0f2a1b9e44"
SECRETS = {
    "base64": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    "text with spaces": "Very Secret Secret",
    "text beyond ASCII": "schlüssel für 東京 🔑",
}
BODIES = {
    "empty object": b"{}",
    "unicode": json.dumps({"Job": "prüfung 東京 🚀\u2028"}, ensure_ascii=False).encode(),
    "escapes": rb'{"Command": "echo \"a\\tb\" \u0000 \ud83d"}',
    "big": json.dumps({"Custom": {"rows": ["x" * 100] * 600}}).encode(),
}


@pytest.fixture(params=["python standardwebhooks", "node standardwebhooks", "octokit"])
def verifier(request: pytest.FixtureRequest) -> Verifier:
    if request.param == "python standardwebhooks":
        return verify_with_standardwebhooks
    require_node()
    return verify_with_octokit if request.param == "octokit" else verify_with_node_standardwebhooks


def signed(body: bytes, *secrets: str) -> dict[str, str]:
    return sign(body, secrets, message_id=EVENT, timestamp=int(time.time()))


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_takes_what_we_sign(verifier: Verifier, body: bytes, secret: str) -> None:
    verifier(body, signed(body, secret), secret)


@pytest.mark.parametrize("secret", SECRETS.values(), ids=SECRETS)
def test_refuses_a_changed_body(verifier: Verifier, secret: str) -> None:
    with pytest.raises(RefusedError):
        verifier(b'{"State":"failed"}', signed(b'{"State":"failex"}', secret), secret)


def test_refuses_another_secret(verifier: Verifier) -> None:
    with pytest.raises(RefusedError):
        verifier(b"{}", signed(b"{}", generate_secret()), generate_secret())


def test_takes_the_newest_secret_of_a_rotation(verifier: Verifier) -> None:
    new, old = generate_secret(), generate_secret()
    verifier(b"{}", signed(b"{}", new, old), new)


@pytest.mark.parametrize("name", ["python", "node"])
def test_standard_webhooks_takes_the_old_secret_of_a_rotation(name: str) -> None:
    new, old = generate_secret(), generate_secret()
    if name == "node":
        require_node()
    verify = verify_with_standardwebhooks if name == "python" else verify_with_node_standardwebhooks
    verify(b"{}", signed(b"{}", new, old), old)
