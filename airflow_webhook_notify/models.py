"""The frozen values that pass between modules.

Invariant: a value here is complete and valid, and its `repr` shows no secret, Authorization or URL path.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from urllib.parse import urlsplit

from airflow_webhook_notify.topics import JOB_TOPICS

#: The namespace of every id that we derive (uuid5 of the project's name, so it never changes).
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "airflow-webhook-notify")


class Level(str, Enum):
    """Which job executions a subscription hears of."""

    DAG = "dag"
    TASK = "task"
    BOTH = "both"


class DeliveryState(str, Enum):
    """Where a delivery stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD_LETTER = "dead_letter"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class SigningSecret:
    """One signing secret and, where it is being rotated out, the time until which it signs.

    :param value: the secret as the receiver holds it
    :param expires_at: milliseconds since the epoch; None for the newest secret, which does not expire
    """

    value: str = field(repr=False)
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Webhook:
    """One Connection of type `webhook`, validated.

    :param id: the connection id
    :param endpoint: the whole URL; a credential, so it is never logged or shown beyond scheme and host
    :param secrets: newest first
    :param authorization: the Authorization header's value, verbatim
    :param topics: what it hears of
    :param dags: globs of DAG ids it subscribes to, `!` in front excludes
    :param tags: globs of DAG tags it subscribes to
    :param level: which job executions its subscription hears of
    :param headers: extra request headers
    :param connect_timeout: seconds for DNS, TCP and TLS together
    :param timeout: seconds for one attempt in all
    :param verify: whether the endpoint's certificate is verified
    :param ca_bundle: path of a PEM file to verify it against, in place of the public authorities
    :param proxy: URL of the HTTP proxy to go through
    :param allow_http: whether a plain `http` endpoint is accepted
    :param nickname: what a person calls it
    :param retries: whether its subscription hears of each failed try that another follows, too
    :param roll_up: seconds for which its subscription gathers the task failures of a run into one event
    :param rate: how many events a minute its subscription sends at most; the others wait
    :param heartbeat: minutes between two pings that say that Airflow is alive
    """

    id: str
    endpoint: str = field(repr=False)
    secrets: tuple[SigningSecret, ...]
    authorization: str | None = field(default=None, repr=False)
    topics: tuple[str, ...] = JOB_TOPICS
    dags: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    level: Level = Level.DAG
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    connect_timeout: float = 5.0
    timeout: float = 15.0
    verify: bool = True
    ca_bundle: str | None = None
    proxy: str | None = field(default=None, repr=False)
    allow_http: bool = False
    nickname: str = ""
    retries: bool = False
    roll_up: float | None = None
    rate: float | None = None
    heartbeat: float | None = None

    @property
    def origin(self) -> str:
        """Scheme, host and port of the endpoint: all of it that may be shown."""
        return origin_of(self.endpoint)

    def secrets_at(self, now: int) -> tuple[str, ...]:
        """Return the secrets that sign at `now` (milliseconds since the epoch), newest first."""
        return tuple(s.value for s in self.secrets if s.expires_at is None or s.expires_at > now)

    def old_secret_until(self, now: int) -> int | None:
        """Return until when a secret signs that is being rotated out; None where none does at `now`."""
        return max(
            (s.expires_at for s in self.secrets if s.expires_at is not None and s.expires_at > now), default=None
        )


@dataclass(frozen=True, slots=True)
class Event:
    """One occurrence.

    :param id: deterministic, see :func:`event_id`
    :param topic: one of :mod:`airflow_webhook_notify.topics`
    :param created_at: milliseconds since the epoch
    :param organization_id: the deployment it happened in
    :param resource: `JobExecution`, or `webhook` for a ping
    :param data: what goes under `Data`, as JSON values in the wire's own keys, already masked and capped
    """

    id: str
    topic: str
    created_at: int
    organization_id: str
    resource: str
    data: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one webhook."""

    id: str
    webhook_id: str
    event: Event

    @classmethod
    def of(cls, event: Event, webhook_id: str) -> Delivery:
        """Return the one delivery that this event has for that webhook."""
        return cls(id=derived_id(event.id, webhook_id), webhook_id=webhook_id, event=event)


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP try of a delivery.

    :param number: 1 for the first
    :param started_at: milliseconds since the epoch
    :param duration: seconds
    :param status: the HTTP status; None where no answer came
    :param error: what went wrong, in words for an operator; None on success
    :param response: the start of the response's body, at most 4 KiB
    :param retry_after: seconds that the endpoint asked us to wait, at most 24 h
    :param final: whether trying again can't help until a person has mended something
    """

    id: str
    delivery_id: str
    number: int
    started_at: int
    duration: float
    status: int | None = None
    error: str | None = None
    response: str = field(default="", repr=False)
    retry_after: float | None = None
    final: bool = False

    @property
    def succeeded(self) -> bool:
        """Whether the endpoint took the event: any 2xx."""
        return self.status is not None and 200 <= self.status < 300


def derived_id(*parts: object) -> str:
    """Return the uuid5 of the parts; no two lists of parts give the same name."""
    name = "".join(f"{len(str(part))}:{part}" for part in parts)
    return str(uuid.uuid5(NAMESPACE, name))


def event_id(
    *,
    organization_id: str,
    dag_id: str,
    run_id: str,
    clear_number: int,
    task_id: str | None,
    map_index: int,
    try_number: int,
    topic: str,
) -> str:
    """Return the event's id: whoever notices the same occurrence, however often, derives the same.

    :param clear_number: how often the run was cleared
    :param task_id: None for a DAG run; `map_index` and `try_number` are then -1 and 0
    """
    return derived_id(organization_id, dag_id, run_id, clear_number, task_id or "", map_index, try_number, topic)


def origin_of(url: str) -> str:
    """Return scheme, host and port of a URL, the only parts that are not credentials."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        # No part of a text that is not a URL is known to be harmless.
        return "(not a URL)"
    host = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{host}:{port}" if port else f"{parts.scheme}://{host}"
