"""The fields of a Connection of type `webhook`, each defined once, for the form and for the parser.

Invariant: imports no Airflow, since the provider info is built from it; what the form offers is what
:mod:`airflow_webhook_notify.connection` accepts.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from airflow_webhook_notify.models import Level
from airflow_webhook_notify.names import CONN_TYPE
from airflow_webhook_notify.topics import JOB_TOPICS

HOOK_NAME = "Webhook"
HOOK_CLASS = "airflow_webhook_notify.hooks.WebhookHook"

ENDPOINT = "Endpoint URL"
SIGNING_SECRET = "Signing secret"

#: Shortest and longest time that one attempt may take, in seconds.
TIMEOUT_RANGE = (0.1, 60.0)
#: Shortest and longest time for which failures are rolled up, in seconds.
ROLL_UP_RANGE = (1.0, 3600.0)
#: Least and most events a minute that a rate limit may ask for.
RATE_RANGE = (0.1, 60_000.0)
#: Shortest and longest time between two heartbeats, in minutes.
HEARTBEAT_RANGE = (1.0, 1440.0)


@dataclass(frozen=True)
class Field:
    """One field that is stored in the Connection's extra.

    :param key: its key there
    :param schema: JSON schema of its value, in the form that Airflow's connection page reads
    """

    key: str
    label: str
    description: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": ["string", "null"]})


_TOPIC_NAMES = {
    "job.execution.started": "started",
    "job.execution.succeeded": "succeeded",
    "job.execution.failed": "failed",
}
_TEXTS = {"type": ["array", "null"], "items": {"type": "string"}}
_SECONDS = {"type": ["number", "null"], "minimum": TIMEOUT_RANGE[0], "maximum": TIMEOUT_RANGE[1]}

AUTHORIZATION = Field(
    "authorization",
    "Authorization header",
    "Sent verbatim as the Authorization header, for example: Bearer 5f2c…",
    {"type": ["string", "null"], "format": "password"},
)
TOPICS = Field(
    "topics",
    "Topics",
    "What this webhook hears of. Empty: all three.",
    {**_TEXTS, "examples": list(JOB_TOPICS), "values_display": _TOPIC_NAMES},
)
DAGS = Field(
    "dags",
    "DAGs",
    "DAG ids that this webhook subscribes to, one a line; * and ? are wildcards, ! in front excludes. "
    "Empty: only what callbacks send to it.",
    _TEXTS,
)
TAGS = Field("tags", "DAG tags", "DAG tags that this webhook subscribes to, one a line.", _TEXTS)
LEVEL = Field(
    "level",
    "Level",
    "Which job executions a subscription hears of: those of DAGs, of tasks, or both.",
    {"type": ["string", "null"], "enum": [level.value for level in Level], "default": Level.DAG.value},
)
RETRIES = Field(
    "retries",
    "Retries",
    "Whether a subscription hears of each failed try that Airflow tries again, too. Default: only of the last.",
    {"type": ["boolean", "null"], "default": False},
)
ROLL_UP = Field(
    "roll_up",
    "Roll up failures",
    "Seconds for which a subscription gathers the failed tasks of one run into one event; the run's end ends it. "
    "Empty: an event for each.",
    {"type": ["number", "null"], "minimum": ROLL_UP_RANGE[0], "maximum": ROLL_UP_RANGE[1]},
)
RATE = Field(
    "rate",
    "Rate limit",
    "How many events a minute a subscription sends at most; the others wait. Empty: no limit.",
    {"type": ["number", "null"], "minimum": RATE_RANGE[0], "maximum": RATE_RANGE[1]},
)
HEARTBEAT = Field(
    "heartbeat",
    "Heartbeat",
    "Minutes between two pings, by which the receiver notices when Airflow is dead. Empty: none.",
    {"type": ["number", "null"], "minimum": HEARTBEAT_RANGE[0], "maximum": HEARTBEAT_RANGE[1]},
)
HEADERS = Field(
    "headers",
    "Extra headers",
    # Airflow's editor closes and reformats what is typed, character by character, and garbles it; pasting works.
    'More request headers, as a JSON object of texts; paste it whole: {"X-Team": "data"}',
    {"type": ["object", "null"]},
)
TIMEOUT = Field(
    "timeout", "Timeout", "Seconds that one attempt may take in all. Default: 15.", {**_SECONDS, "default": 15}
)
CONNECT_TIMEOUT = Field(
    "connect_timeout",
    "Connect timeout",
    "Seconds until the connection must stand (DNS, TCP and TLS). Default: 5.",
    {**_SECONDS, "default": 5},
)
VERIFY = Field(
    "verify",
    "Verify TLS",
    "Whether the endpoint's certificate is verified. Leave it on; for a private authority give a CA bundle.",
    {"type": ["boolean", "null"], "default": True},
)
CA_BUNDLE = Field("ca_bundle", "CA bundle", "Path of a PEM file with the authorities to trust for this endpoint.")
PROXY = Field(
    "proxy",
    "Proxy",
    "URL of the HTTP proxy to send through. Default: that of the environment (HTTPS_PROXY, NO_PROXY).",
    {"type": ["string", "null"], "format": "password"},
)
ALLOW_HTTP = Field(
    "allow_http",
    "Allow http",
    "Accept an endpoint without TLS. Whoever is on the way can then read every event.",
    {"type": ["boolean", "null"], "default": False},
)

PREVIOUS_SECRETS = Field(
    # "secret" in its name makes Airflow mask what it holds and, when the form is saved, put back what it masked.
    "previous_secrets",
    "Previous secrets",
    "Those that rotate-secret keeps: each signs until its time. Leave it as it is; [] ends them all at once.",
    # Named here because the form would else show it as a text of its own making, and store that when it is touched.
    {"type": ["array", "null"], "items": {"type": "object"}},
)

FIELDS: tuple[Field, ...] = (
    AUTHORIZATION,
    TOPICS,
    DAGS,
    TAGS,
    LEVEL,
    RETRIES,
    ROLL_UP,
    RATE,
    HEARTBEAT,
    HEADERS,
    TIMEOUT,
    CONNECT_TIMEOUT,
    VERIFY,
    CA_BUNDLE,
    PROXY,
    ALLOW_HTTP,
    PREVIOUS_SECRETS,
)


def describe_connection_type() -> dict[str, Any]:
    """Return the connection type as Airflow's provider info wants it."""
    return {
        "connection-type": CONN_TYPE,
        "hook-class-name": HOOK_CLASS,
        "hook-name": HOOK_NAME,
        "ui-field-behaviour": {
            "hidden-fields": ["schema", "login", "port"],
            "relabeling": {"host": ENDPOINT, "password": SIGNING_SECRET, "description": "Nickname"},
            "placeholders": {
                "host": "https://hooks.example.com/airflow",
                "password": "whsec_… (airflow webhooks add makes one)",
            },
        },
        "conn-fields": {
            item.key: {"label": item.label, "description": item.description, "schema": dict(item.schema)}
            for item in FIELDS
        },
    }
