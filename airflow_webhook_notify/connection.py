"""Connections of type `webhook`, to and from the `Webhook` value that all other code uses.

Invariant: nothing else in this package reads or writes a Connection, and the credentials of each that is read
are known to Airflow's secrets masker before anyone can log them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from airflow_webhook_notify import connection_fields as fields
from airflow_webhook_notify import connection_form as form
from airflow_webhook_notify.connection_reading import StoredConnection, UnknownWebhookError, read, unreadable
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.models import Webhook
from airflow_webhook_notify.names import CONN_TYPE
from airflow_webhook_notify.signing import SECRET_PREFIX, check_secret

_ENVIRONMENT_PREFIX = "AIRFLOW_CONN_"
#: Shorter paths than this are common words; masking them would blacken logs and protect nothing.
_SHORTEST_MASKED_PATH = 12
#: Nor are shorter credentials; a signing secret that short is refused.
_SHORTEST_MASKED = 8
#: What the metadata database has room for.
_LONGEST_ENDPOINT = 500


class ListedWebhook(NamedTuple):
    """One webhook in a listing; exactly one of `webhook` and `problem` is set.

    :param source: `database` or `environment`; those of a secrets backend can't be listed
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
    _mask(_credentials_of(conn), headers=_header_values(conn))
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


def _credentials_of(conn: StoredConnection) -> list[str]:
    extra = _extra_mapping(conn)
    found = [conn.password, conn.host, _path_of(conn.host or "")]
    found.extend([conn.extra] if extra is None else _credentials_in(extra))
    # Airflow's masker takes the first of its patterns that fits, so one that others begin with would leave their
    # ends in the open: `whsec_` alone is not given to it, and what follows `whsec_` is, by itself.
    found.extend(text.removeprefix(SECRET_PREFIX) for text in found[:] if text and text.startswith(SECRET_PREFIX))
    return [text for text in found if text and len(text) >= _SHORTEST_MASKED]


def _header_values(conn: StoredConnection) -> list[str]:
    headers = (_extra_mapping(conn) or {}).get("headers")
    values = headers.values() if isinstance(headers, Mapping) else []
    return [value for value in values if isinstance(value, str) and len(value) >= _SHORTEST_MASKED_PATH]


def _extra_mapping(conn: StoredConnection) -> Mapping[str, Any] | None:
    if not conn.extra:
        return {}
    extra = _json_or_none(conn.extra)
    return extra if isinstance(extra, Mapping) or extra is None else {}


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _credentials_in(extra: Mapping[str, Any]) -> Iterator[str]:
    for key in ("authorization", "proxy"):
        if isinstance(value := extra.get(key), str) and value:
            yield value
            # `Bearer abc`: the credential is as secret without its scheme.
            yield value.partition(" ")[2].strip()
    previous = extra.get(form.PREVIOUS_SECRETS.key)
    if isinstance(previous, str):
        # A Connection written as a URI holds every extra as text.
        previous = _json_or_none(previous)
    for item in previous if isinstance(previous, list) else []:
        if isinstance(item, Mapping) and isinstance(secret := item.get("secret"), str):
            yield secret


def _path_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return path if len(path) >= _SHORTEST_MASKED_PATH else ""


def _mask(credentials: list[str], *, headers: list[str]) -> None:
    from airflow._shared.secrets_masker import mask_secret as mask_in_core
    from airflow.sdk.log import mask_secret

    # One call for all: in a task each is a round trip to its supervisor. Core keeps a masker of its own.
    mask_secret([*credentials, *headers])
    # Not the headers: the API server would show them as ***, and the connection page would save them so, since
    # Airflow puts back what it masked by a key's name and not what it masked by value.
    mask_in_core(list(credentials))


def list_webhooks() -> list[ListedWebhook]:
    """Return every webhook of the metadata database and of the environment, by id; needs the database."""
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        stored = session.scalars(select(Connection).where(Connection.conn_type == CONN_TYPE))
        listed = [_listed(conn, source="database", encrypted=bool(conn.is_encrypted)) for conn in stored]
    # The environment comes first when Airflow looks a Connection up, so it hides one of the same id.
    named = {item.id: item for item in [*listed, *_listed_environment()]}
    return [named[conn_id] for conn_id in sorted(named)]


def _listed(conn: StoredConnection, *, source: str, encrypted: bool) -> ListedWebhook:
    try:
        return ListedWebhook(conn.conn_id, source, parse_webhook(conn), None, encrypted)
    except ConfigurationError as error:
        return ListedWebhook(conn.conn_id, source, None, str(error), encrypted)


def _listed_environment() -> Iterator[ListedWebhook]:
    from airflow.models.connection import Connection

    for name in os.environ:
        if not name.startswith(_ENVIRONMENT_PREFIX):
            continue
        conn_id = name[len(_ENVIRONMENT_PREFIX) :].lower()
        try:
            conn = Connection.get_connection_from_secrets(conn_id)
        except Exception:  # noqa: BLE001, S112 - not ours to judge: nothing says that it was meant to be a webhook
            continue
        if conn.conn_type == CONN_TYPE:
            yield _listed(conn, source="environment", encrypted=False)


def create_webhook(webhook: Webhook) -> None:
    """Store a new webhook as a Connection in the metadata database.

    :raises ConfigurationError: where the id is taken or a field can't be used
    """
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    _check_storable(webhook)
    conn = Connection(
        conn_id=webhook.id,
        conn_type=CONN_TYPE,
        description=webhook.nickname if webhook.nickname != webhook.id else None,
        host=webhook.endpoint,
        password=webhook.secrets[0].value,
        extra=json.dumps(_extra_of(webhook)),
    )
    parse_webhook(conn)
    with create_session(scoped=False) as session:
        if session.scalar(select(Connection.id).where(Connection.conn_id == webhook.id)):
            raise ConfigurationError("Connection id", f"{webhook.id!r} is taken; choose another, or delete that one")
        session.add(conn)


def _check_storable(webhook: Webhook) -> None:
    # The metadata database's own limits: SQLite would take more, PostgreSQL would answer with a stack trace.
    if not re.fullmatch(r"[\w#!()\-.:/\\]{1,250}", webhook.id, re.ASCII):
        raise ConfigurationError("Connection id", "may have up to 250 letters, digits and -_.:/\\#!(), and no others")
    if len(webhook.endpoint) > _LONGEST_ENDPOINT:
        raise ConfigurationError(
            form.ENDPOINT, f"is over {_LONGEST_ENDPOINT} characters; keep this webhook in a secrets backend instead"
        )


def _extra_of(webhook: Webhook) -> dict[str, Any]:
    values = _extra_values(webhook)
    # Only what differs from the defaults, so that a later default reaches the webhooks that never chose.
    defaults = _extra_values(Webhook(id="", endpoint="", secrets=()))
    return {key: value for key, value in values.items() if value != defaults[key]}


def _extra_values(webhook: Webhook) -> dict[str, Any]:
    return {
        "authorization": webhook.authorization,
        "topics": list(webhook.topics),
        "dags": list(webhook.dags),
        "tags": list(webhook.tags),
        "level": webhook.level.value,
        "retries": webhook.retries,
        "roll_up": webhook.roll_up,
        "rate": webhook.rate,
        "heartbeat": webhook.heartbeat,
        "headers": dict(webhook.headers),
        "timeout": webhook.timeout,
        "connect_timeout": webhook.connect_timeout,
        "verify": webhook.verify,
        "ca_bundle": webhook.ca_bundle,
        "proxy": webhook.proxy,
        "allow_http": webhook.allow_http,
    }


def rotate_secret(conn_id: str, new_secret: str, *, now: int, overlap: int) -> None:
    """Make `new_secret` the webhook's signing secret; the present one keeps signing for `overlap`.

    :param now: milliseconds since the epoch
    :param overlap: milliseconds
    :raises ConfigurationError: where there is no such webhook in the metadata database or the secret can't be used
    """
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    check_secret(new_secret)
    with create_session(scoped=False) as session:
        conn = session.scalar(select(Connection).where(Connection.conn_id == conn_id).with_for_update())
        if conn is None or conn.conn_type != CONN_TYPE:
            problem = "is no webhook of the metadata database; change it where it is kept"
            raise UnknownWebhookError(conn_id, f"{problem} (environment, secrets backend)")
        extra = fields.parse_extra(conn.extra)
        previous = fields.parse_previous_secrets(extra.get(form.PREVIOUS_SECRETS.key))
        kept = [item for item in previous if item["expires_at"] > now]
        if overlap > 0 and conn.password:
            kept.insert(0, {"secret": conn.password, "expires_at": now + overlap})
        extra[form.PREVIOUS_SECRETS.key] = kept
        conn.password = new_secret
        conn.extra = json.dumps(extra)
    _mask([new_secret, new_secret.removeprefix(SECRET_PREFIX)], headers=[])
