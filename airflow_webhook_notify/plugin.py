"""The Airflow plugin: what the API server mounts.

Invariant: every Airflow component imports this module, so it imports nothing of ours; the app is made where it is
asked for, which the API server alone does, and an error in it costs our app, not the API server.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

log = logging.getLogger(__name__)


class WebhookNotifyPlugin(AirflowPlugin):
    """Mounts the intake and the relay."""

    # Unique: a second plugin of one name makes Airflow drop others without a word.
    name = "webhook_notify"

    @cached_property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The app and where Airflow mounts it."""
        try:
            from airflow_webhook_notify.api.app import build_app

            return [{"app": build_app(), "url_prefix": "/webhook-notify", "name": "webhook_notify"}]
        except Exception:
            log.exception("webhooks: the intake is not served; callbacks deliver directly meanwhile")
            return []
