"""What Airflow learns of this package.

Invariant: light and dull; every Airflow process runs this while it imports its own configuration, and an error
here takes all of Airflow down.
"""

from __future__ import annotations

from typing import Any

from airflow_webhook_notify import config, connection_form


def get_provider_info() -> dict[str, Any]:
    """Return the provider metadata that Airflow finds through the `apache_airflow_provider` entry point."""
    return {
        # Airflow refuses the provider unless this is the distribution's name.
        "package-name": "airflow-webhook-notify",
        "name": "Webhook Notify",
        "description": "Signed webhooks that tell other systems when DAGs and tasks start, succeed or fail.",
        "connection-types": [connection_form.describe_connection_type()],
        "notifications": ["airflow_webhook_notify.notifications.WebhookNotifier"],
        "config": config.describe_section(),
        "db-managers": ["airflow_webhook_notify.outbox.db_manager.OutboxDBManager"],
        "cli": ["airflow_webhook_notify.cli.definition.get_cli_commands"],
    }
