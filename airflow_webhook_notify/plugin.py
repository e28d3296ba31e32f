"""The Airflow plugin: what the API server mounts.

Invariant: every Airflow component imports this module, so it imports nothing of ours; the app is made where it is
asked for, which the API server alone does, and an error in it costs our app, not the API server. The same holds for
the listener, which every component asks for.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

log = logging.getLogger(__name__)


class WebhookNotifyPlugin(AirflowPlugin):
    """Mounts the intake and the relay, and registers the listener."""

    # Unique: a second plugin of one name makes Airflow drop others without a word.
    name = "webhook_notify"

    @cached_property
    def listeners(self) -> list[Any]:  # type: ignore[override]
        """What leaves a failed task's message for the watcher, unless `[webhook_notify] failure_reports` is off."""
        try:
            from airflow_webhook_notify import config

            if not config.FAILURE_REPORTS.read():
                return []
            from airflow_webhook_notify import listener

            return [listener]
        except Exception:
            log.exception("webhooks: failures are not reported; the events of subscriptions lack their messages")
            return []

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The app and where Airflow mounts it."""
        try:
            from airflow_webhook_notify.api.app import build_app

            return [{"app": build_app(), "url_prefix": "/webhook-notify", "name": "webhook_notify"}]
        except Exception:
            log.exception("webhooks: the intake is not served; callbacks deliver directly meanwhile")
            return []
