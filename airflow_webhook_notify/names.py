"""The names by which Airflow knows this package.

Invariant: imports nothing; none of these may change, since users' Connections and configuration hold them.
"""

from __future__ import annotations

CONN_TYPE = "webhook"
#: Not `webhook_default`: that is airflow-provider-inbound-webhooks' own.
DEFAULT_CONN_ID = "webhook_notify_default"
SECTION = "webhook_notify"
