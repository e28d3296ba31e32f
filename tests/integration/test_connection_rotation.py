"""Rotation against a real metadata database, where somebody has edited the extra by hand."""

from __future__ import annotations

import pytest
from airflow.models.connection import Connection
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_webhook_notify.connection_store import create_webhook, rotate_secret
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.models import SigningSecret, Webhook
from airflow_webhook_notify.signing import generate_secret

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.mark.usefixtures("airflow_db")
@pytest.mark.parametrize("previous", ['["[object Object]"]', '[{"secret": 7}]', '"***"'])
def test_previous_secrets_that_cannot_be_read_are_refused_and_nothing_is_changed(previous: str) -> None:
    conn_id = f"garbled_{abs(hash(previous))}"
    create_webhook(Webhook(id=conn_id, endpoint="https://hooks.example.com/x", secrets=(SigningSecret(SECRET),)))
    with create_session(scoped=False) as session:
        conn = session.scalars(select(Connection).where(Connection.conn_id == conn_id)).one()
        conn.extra = f'{{"previous_secrets": {previous}}}'
    with pytest.raises(ConfigurationError, match=r"^Previous secrets: must be a list of"):
        rotate_secret(conn_id, generate_secret(), now=0, overlap=1000)
    with create_session(scoped=False) as session:
        conn = session.scalars(select(Connection).where(Connection.conn_id == conn_id)).one()
        assert (conn.password, conn.extra) == (SECRET, f'{{"previous_secrets": {previous}}}')
        session.delete(conn)
