"""Webhooks read from the metadata database, many at a time."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from airflow.models.connection import Connection
from airflow.utils.session import create_session
from cryptography.fernet import Fernet
from sqlalchemy import delete, update

from airflow_webhook_notify import masking
from airflow_webhook_notify.connection import find_webhook, list_webhooks
from airflow_webhook_notify.connection_store import change_webhook, create_webhook
from airflow_webhook_notify.models import SigningSecret, Webhook
from airflow_webhook_notify.signing import generate_secret


@pytest.fixture(autouse=True)
def _database(airflow_db: None) -> Iterator[None]:
    yield
    with create_session(scoped=False) as session:
        session.execute(delete(Connection).where(Connection.conn_type == "webhook"))


def make(conn_id: str, **more: Any) -> Webhook:
    """Store a webhook."""
    webhook = Webhook(conn_id, f"https://e.org/{conn_id}", (SigningSecret(generate_secret()),), **more)
    create_webhook(webhook)
    return webhook


def test_a_change_is_seen_although_what_did_not_change_is_not_read_again() -> None:
    first, second = make("a"), make("b")
    before = {each.id: each.webhook for each in list_webhooks()}
    assert {name: webhook.secrets for name, webhook in before.items() if webhook} == {
        "a": first.secrets,
        "b": second.secrets,
    }
    change_webhook("b", {"nickname": "B", "rate": 5})
    after = {each.id: each.webhook for each in list_webhooks()}
    assert after["a"] is before["a"]
    assert after["b"] is not None
    assert (after["b"].nickname, after["b"].rate, after["b"].secrets) == ("B", 5, second.secrets)
    assert find_webhook("b").webhook is after["b"]


def test_one_that_another_key_encrypted_is_told_and_the_others_are_listed() -> None:
    make("a")
    make("b")
    other = Fernet(Fernet.generate_key()).encrypt(b"a secret of another Airflow").decode()
    with create_session(scoped=False) as session:
        session.execute(update(Connection.__table__).where(Connection.conn_id == "b").values(password=other))
    a, b = list_webhooks()
    assert (a.id, a.problem) == ("a", None)
    assert b.problem == "Connection 'b': can't be decrypted; [core] fernet_key is not the one it was stored with"


class Conn:
    """A Connection of many."""

    def __init__(self, number: int) -> None:
        self.host = f"https://hooks.example.com/services/a-path-of-{number:04}"
        self.password = f"whsec_{number:032}"
        self.extra = json.dumps(
            {"authorization": f"Bearer token-{number:06}", "headers": {"X-Key": f"key-{number:012}"}}
        )


def test_many_are_masked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow._shared.secrets_masker import redact as redact_in_core
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    built: list[int] = []
    compiled = re.compile

    def compile_counted(pattern: Any, flags: int = 0) -> re.Pattern[str]:
        if isinstance(pattern, str) and "a\\-path\\-of" in pattern:
            built.append(len(pattern))
        return compiled(pattern, flags)

    monkeypatch.setattr(re, "compile", compile_counted)
    conns = [Conn(number) for number in range(60)]
    masking.mask_connections(conns)
    assert len(built) == 2
    text = " ".join(f"{conn.password} {conn.host} {conn.extra}" for conn in conns)
    for redacted in (redact(text), redact_in_core(text)):
        assert not re.findall(r"path-of|token-0|0{20}", str(redacted))
    assert "key-0" not in str(redact(text))
    assert "key-000000000059" in str(redact_in_core(text))
    masking.mask_connections(conns)
    assert len(built) == 2
