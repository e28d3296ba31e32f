"""The Airflow plugin: what the API server mounts.

Invariant: every Airflow component imports this module, so it imports nothing of ours; the app is made where it is
asked for, which the API server alone does, and an error in it costs our app, not the API server. The same holds for
the listener, which every component asks for. Where the page is shown is told by texts alone.
"""

from __future__ import annotations

import logging
from functools import cached_property
from typing import Any

from airflow.sdk.plugins_manager import AirflowPlugin

log = logging.getLogger(__name__)

_MOUNT = "/webhook-notify"
#: Airflow puts these in, encoded; where a task is not mapped it leaves the last one as it is.
_RUN = "dag={DAG_ID}&run={RUN_ID}"
_TASK = f"{_RUN}&task={{TASK_ID}}&map_index={{MAP_INDEX}}"
_SHAPE = (
    "%3Ccircle cx='12' cy='5.5' r='3'/%3E%3Ccircle cx='5' cy='18' r='3'/%3E%3Ccircle cx='19' cy='18' r='3'/%3E"
    "%3Cpath d='M10.5 8.2 6.6 15.3M13.5 8.2l3.9 7.1M8 18h8'/%3E"
)
#: In the address itself: everyone sees the icon, and not everyone may ask our app for a file. The halo, since Airflow
#: shows it on the light of its navigation, and on the dark of what is chosen there.
_ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 24 24' fill='none' "
    "stroke-linecap='round'%3E%3Cg stroke='%23{halo}' stroke-width='3.6'%3E{shape}%3C/g%3E"
    "%3Cg stroke='%23{line}' stroke-width='1.7'%3E{shape}%3C/g%3E%3C/svg%3E"
)


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

            return [{"app": build_app(), "url_prefix": _MOUNT, "name": "webhook_notify"}]
        except Exception:
            log.exception("webhooks: the intake is not served; callbacks deliver directly meanwhile")
            return []

    @cached_property
    def external_views(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The Webhooks page in Airflow's navigation, and its part for a run or a task as a tab of their pages."""
        try:
            from urllib.parse import urlsplit

            from airflow.configuration import conf

            root = urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/") + _MOUNT
        except Exception:
            log.exception("webhooks: the page is not in Airflow's navigation")
            return []
        return [
            # Airflow 3.2 has no top level, and shows it beside the other plugins.
            _view("nav", "webhook-notify", f"{root}/", nav_top_level=True),
            _view("dag_run", "webhook-notify-run", f"{root}/deliveries?tab=run&{_RUN}"),
            _view("task_instance", "webhook-notify-task", f"{root}/deliveries?tab=task&{_TASK}"),
        ]


def _view(destination: str, url_route: str, href: str, **more: Any) -> dict[str, Any]:
    icons = {
        "icon": _ICON.format(shape=_SHAPE, halo="e6edf8", line="3b4f70"),
        "icon_dark_mode": _ICON.format(shape=_SHAPE, halo="233a63", line="cbd5e1"),
    }
    return {"name": "Webhooks", "destination": destination, "url_route": url_route, "href": href, **icons, **more}
