"""A Connection that is read while the caller does something else, from a real environment."""

from __future__ import annotations

import threading

import pytest

from airflow_webhook_notify.connection_reading import Reading, UnknownWebhookError


def test_it_is_read_in_another_thread_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OPS", '{"conn_type": "webhook", "host": "https://hooks.example.com"}')
    before = threading.active_count()
    conn = Reading("ops").result()
    assert (conn.conn_id, conn.conn_type, conn.host) == ("ops", "webhook", "https://hooks.example.com")
    assert threading.active_count() == before


def test_what_went_wrong_is_raised_where_it_is_waited_for() -> None:
    reading = Reading("nowhere")
    with pytest.raises(UnknownWebhookError, match="'nowhere': does not exist; make it with `airflow webhooks add`"):
        reading.result()
