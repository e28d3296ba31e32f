"""Connections of type `webhook`, read as the `Webhook` value that all other code uses.

Invariant: nothing else in this package reads a Connection, nothing but `connection_store` writes one, and the
credentials of each that is read are known to Airflow's secrets masker before anyone can log them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from airflow_webhook_notify import connection_fields as fields
from airflow_webhook_notify import connection_form as form
from airflow_webhook_notify.connection_reading import (
    StoredConnection,
    UnknownWebhookError,
    read,
    unknown,
    unreadable,
)
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.masking import mask_connections
from airflow_webhook_notify.models import Webhook
from airflow_webhook_notify.names import CONN_TYPE

DATABASE, ENVIRONMENT, SECRETS_BACKEND = "database", "environment", "secrets backend"
ENVIRONMENT_PREFIX = "AIRFLOW_CONN_"
#: What Airflow takes as the id of a Connection, and its column has room for.
CONN_ID = re.compile(r"[\w#!()\-.:/\\]{1,250}", re.ASCII)


class ListedWebhook(NamedTuple):
    """One webhook in a listing; exactly one of `webhook` and `problem` is set.

    :param source: `DATABASE`, `ENVIRONMENT` or `SECRETS_BACKEND`; those of a secrets backend can't be listed
    :param encrypted: whether the signing secret is encrypted where it is stored
    """

    id: str
    source: str
    webhook: Webhook | None
    problem: str | None
    encrypted: bool


def parse_webhook(conn: StoredConnection) -> Webhook:
    """Return the webhook that a Connection describes, and register its credentials with the masker.

    :raises ConfigurationError: for the first field that can't be used
    """
    if conn.conn_type != CONN_TYPE:
        raise UnknownWebhookError(conn.conn_id, f"has the type {conn.conn_type!r}; make it one of type {CONN_TYPE!r}")
    mask_connections([conn])
    return _parse(conn)


def _parse(conn: StoredConnection) -> Webhook:
    extra = fields.parse_extra(conn.extra)
    allow_http = fields.parse_flag(form.ALLOW_HTTP.label, extra.get("allow_http"), default=False)
    timeout = fields.parse_timeout(form.TIMEOUT.label, extra.get("timeout"), default=15.0)
    connect = fields.parse_timeout(form.CONNECT_TIMEOUT.label, extra.get("connect_timeout"), default=5.0)
    return Webhook(
        id=conn.conn_id,
        endpoint=fields.check_endpoint(conn.host, allow_http=allow_http),
        secrets=fields.parse_secrets(conn.password, extra.get(form.PREVIOUS_SECRETS.key)),
        authorization=fields.parse_authorization(extra.get("authorization")),
        topics=fields.parse_topics(extra.get("topics")),
        dags=fields.parse_globs(form.DAGS.label, extra.get("dags")),
        tags=fields.parse_globs(form.TAGS.label, extra.get("tags")),
        level=fields.parse_level(extra.get("level")),
        headers=fields.parse_headers(extra.get("headers")),
        connect_timeout=min(connect, timeout),
        timeout=timeout,
        verify=fields.parse_flag(form.VERIFY.label, extra.get("verify"), default=True),
        ca_bundle=fields.parse_path(form.CA_BUNDLE.label, extra.get("ca_bundle")),
        proxy=fields.parse_proxy(extra.get("proxy")),
        allow_http=allow_http,
        nickname=(conn.description or "").strip() or conn.conn_id,
        retries=fields.parse_flag(form.RETRIES.label, extra.get("retries"), default=False),
        roll_up=_amount(form.ROLL_UP, extra, unit="seconds", limits=form.ROLL_UP_RANGE),
        rate=_amount(form.RATE, extra, unit="events a minute", limits=form.RATE_RANGE),
        heartbeat=_amount(form.HEARTBEAT, extra, unit="minutes", limits=form.HEARTBEAT_RANGE),
    )


def _amount(field: form.Field, extra: Mapping[str, Any], *, unit: str, limits: tuple[float, float]) -> float | None:
    return fields.parse_amount(field.label, extra.get(field.key), unit=unit, limits=limits)


def get_webhook(conn_id: str) -> Webhook:
    """Return the webhook of that connection id, wherever this process runs.

    :raises ConfigurationError: where there is none or it can't be used
    """
    return parse_webhook(read(conn_id))


async def aget_webhook(conn_id: str) -> Webhook:
    """Return the webhook of that connection id, from a trigger's event loop.

    :raises ConfigurationError: where there is none or it can't be used
    """
    from airflow.sdk import Connection
    from asgiref.sync import sync_to_async

    try:
        conn = await Connection.async_get(conn_id)
    except Exception as error:  # noqa: BLE001 - a secrets backend may raise anything
        raise unreadable(conn_id, error) from None
    # Masking tells the supervisor, which a thread may wait for and an event loop may not.
    return await sync_to_async(parse_webhook)(conn)


def list_webhooks() -> list[ListedWebhook]:
    """Return every webhook of the metadata database and of the environment, by id; needs the database."""
    # The environment comes first when Airflow looks a Connection up, so it hides one of the same id.
    named = {item.id: item for item in [*_listed_database(), *_listed_environment()]}
    return [named[conn_id] for conn_id in sorted(named)]


def find_webhook(conn_id: str) -> ListedWebhook:
    """Return the webhook, also one of a secrets backend, which no listing holds; needs the database.

    :raises UnknownWebhookError: where there is none
    :raises ConfigurationError: where the one of a secrets backend can't be used
    """
    if not CONN_ID.fullmatch(conn_id):
        raise unknown(conn_id)
    if in_environment(conn_id):
        found: Iterable[ListedWebhook] = _listed_environment([conn_id])
    else:
        found = _listed_database(conn_id)
    for listed in found:
        return listed
    return ListedWebhook(conn_id, SECRETS_BACKEND, get_webhook(conn_id), None, encrypted=True)


class _Row(NamedTuple):
    """A Connection as the database has it."""

    conn_id: str
    conn_type: str
    description: str | None
    host: str | None
    password: str | None
    extra: str | None
    is_encrypted: bool
    is_extra_encrypted: bool


# What became of each row when it was last read. Decrypting and checking hundreds takes longer than reading them, and
# nearly always none has changed.
_parsed: dict[_Row, ListedWebhook] = {}


def _listed_database(conn_id: str | None = None) -> list[ListedWebhook]:
    global _parsed
    rows = _rows(conn_id)
    parsed = _parsed
    changed = [(row, _decrypted(row)) for row in rows if row not in parsed]
    mask_connections(conn for _, conn in changed if conn is not None)
    found = {row: parsed[row] for row in rows if row in parsed} | {row: _listed_row(row, conn) for row, conn in changed}
    _parsed = found if conn_id is None else {**parsed, **found}
    return [found[row] for row in rows]


def _rows(conn_id: str | None) -> list[_Row]:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import inspect, select

    columns = inspect(Connection).columns
    wanted = select(*(columns[name if name in columns else f"_{name}"] for name in _Row._fields))
    wanted = wanted.where(Connection.conn_type == CONN_TYPE)
    if conn_id is not None:
        wanted = wanted.where(Connection.conn_id == conn_id)
    with create_session(scoped=False) as session:
        return [_Row(*row) for row in session.execute(wanted)]


def _decrypted(row: _Row) -> StoredConnection | None:
    """Return a Connection that no database knows; None where Airflow's key does not fit."""
    from airflow.models.connection import Connection
    from cryptography.fernet import InvalidToken

    conn = Connection(conn_id=row.conn_id, conn_type=row.conn_type, description=row.description, host=row.host)
    conn._password, conn.is_encrypted = row.password, bool(row.is_encrypted)
    conn._extra, conn.is_extra_encrypted = row.extra, bool(row.is_extra_encrypted)
    try:
        return _Plain(row.conn_id, row.conn_type, row.description, row.host, conn.password, conn.extra)
    except (InvalidToken, ValueError):
        return None


class _Plain(NamedTuple):
    """A Connection, decrypted."""

    conn_id: str
    conn_type: str | None
    description: str | None
    host: str | None
    password: str | None
    extra: str | None


def _listed_row(row: _Row, conn: StoredConnection | None) -> ListedWebhook:
    if conn is None:
        problem = f"Connection {row.conn_id!r}: can't be decrypted; [core] fernet_key is not the one it was stored with"
        return ListedWebhook(row.conn_id, DATABASE, None, problem, bool(row.is_encrypted))
    return _listed(conn, source=DATABASE, encrypted=bool(row.is_encrypted))


def _listed(conn: StoredConnection, *, source: str, encrypted: bool) -> ListedWebhook:
    try:
        return ListedWebhook(conn.conn_id, source, _parse(conn), None, encrypted)
    except ConfigurationError as error:
        return ListedWebhook(conn.conn_id, source, None, str(error), encrypted)


def in_environment(conn_id: str) -> bool:
    """Return whether a variable of this process's environment defines a Connection of that id."""
    return f"{ENVIRONMENT_PREFIX}{conn_id.upper()}" in os.environ


def _listed_environment(conn_ids: Iterable[str] | None = None) -> Iterator[ListedWebhook]:
    from airflow.models.connection import Connection

    names = [name[len(ENVIRONMENT_PREFIX) :].lower() for name in os.environ if name.startswith(ENVIRONMENT_PREFIX)]
    for conn_id in names if conn_ids is None else conn_ids:
        try:
            conn = Connection.get_connection_from_secrets(conn_id)
        except Exception:  # noqa: BLE001, S112 - not ours to judge: nothing says that it was meant to be a webhook
            continue
        if conn.conn_type == CONN_TYPE:
            mask_connections([conn])
            yield _listed(conn, source=ENVIRONMENT, encrypted=False)


def teams_of(conn_ids: Collection[str]) -> dict[str, str | None]:
    """Return the team of each Connection of the metadata database; none at all where Airflow has no teams."""
    from airflow.configuration import conf
    from airflow.models.connection import Connection

    if not conf.getboolean("core", "multi_team", fallback=False):
        return {}
    return dict(Connection.get_conn_id_to_team_name_mapping(sorted(conn_ids)))
