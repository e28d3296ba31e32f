"""Signed webhooks that tell other systems when Airflow's jobs start, succeed or fail.

Invariant: importing this package imports no Airflow, and a public name is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_webhook_notify.hooks import WebhookHook
    from airflow_webhook_notify.notifications import WebhookNotifier, dag_callbacks, task_callbacks
    from airflow_webhook_notify.signing import verify

__all__ = ["WebhookHook", "WebhookNotifier", "dag_callbacks", "task_callbacks", "verify"]

_HOMES = {
    "WebhookHook": "hooks",
    "WebhookNotifier": "notifications",
    "dag_callbacks": "notifications",
    "task_callbacks": "notifications",
    "verify": "signing",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
