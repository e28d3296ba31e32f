"""Webhooks written as Connections of the metadata database: made, changed, rotated, deleted.

Invariant: what is stored was parsed first, so no change leaves a webhook that can't be used; what a change does not
name stays as it was, the signing secret and fields of other tools too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_webhook_notify import connection_fields as fields
from airflow_webhook_notify import connection_form as form
from airflow_webhook_notify.connection import (
    CONN_ID,
    ENVIRONMENT_PREFIX,
    find_webhook,
    in_environment,
    parse_webhook,
)
from airflow_webhook_notify.connection_reading import unknown
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.masking import mask
from airflow_webhook_notify.models import Webhook
from airflow_webhook_notify.names import CONN_TYPE
from airflow_webhook_notify.signing import SECRET_PREFIX, check_secret

if TYPE_CHECKING:
    from airflow.models.connection import Connection

ENDPOINT, NICKNAME = "endpoint", "nickname"
#: What :func:`change_webhook` can be asked for; the signing secret is none of it.
CHANGEABLE = frozenset({ENDPOINT, NICKNAME, *(field.key for field in form.FIELDS if field != form.PREVIOUS_SECRETS)})
#: What the metadata database has room for.
_LONGEST_ENDPOINT = 500
_LONGEST_NICKNAME = 250


class TakenError(ConfigurationError):
    """There is a Connection of that id already."""


class ReadOnlyError(ConfigurationError):
    """The webhook is not kept in the metadata database, so it is changed where it is kept."""


def create_webhook(webhook: Webhook) -> None:
    """Store a new webhook as a Connection in the metadata database.

    :raises TakenError: where the id is taken
    :raises ConfigurationError: where a field can't be used
    """
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    _check_id(webhook.id)
    conn = Connection(
        conn_id=webhook.id,
        conn_type=CONN_TYPE,
        description=_nickname(webhook.nickname, webhook.id),
        host=_endpoint(webhook.endpoint),
        password=webhook.secrets[0].value,
        extra=json.dumps(_extra_of(webhook)),
    )
    parse_webhook(conn)
    with create_session(scoped=False) as session, _taken(webhook.id):
        if session.scalar(select(Connection.id).where(Connection.conn_id == webhook.id)):
            raise _taken_error(webhook.id)
        session.add(conn)
        session.flush()


@contextmanager
def _taken(conn_id: str) -> Iterator[None]:
    from sqlalchemy.exc import IntegrityError

    try:
        yield
    except IntegrityError:
        # Another process made one since we looked.
        raise _taken_error(conn_id) from None


def _taken_error(conn_id: str) -> TakenError:
    return TakenError("Connection id", f"{conn_id!r} is taken; choose another, or delete that one")


def change_webhook(conn_id: str, changes: Mapping[str, Any]) -> Webhook:
    """Change fields of a webhook in the metadata database, and return it as it is then.

    :param changes: by the names in `CHANGEABLE`; None or an empty text sets a field back to what it is where nobody
        sets it. Of `headers`, only those that are named change, and one that is None is removed.
    :raises UnknownWebhookError: where there is none
    :raises ReadOnlyError: where it is kept elsewhere
    :raises ConfigurationError: where a field can't be used
    """
    if others := sorted(set(changes) - CHANGEABLE):
        raise ConfigurationError(others[0][:80], f"can't be changed; {', '.join(sorted(CHANGEABLE))} can")
    with _stored(conn_id) as conn:
        if ENDPOINT in changes:
            conn.host = _endpoint(changes[ENDPOINT])
        if NICKNAME in changes:
            conn.description = _nickname(changes[NICKNAME], conn_id)
        extra = fields.parse_extra(conn.extra)
        for key in sorted(set(changes) - {ENDPOINT, NICKNAME}):
            _put(extra, key, changes[key])
        conn.extra = json.dumps(extra)
        return parse_webhook(conn)


def _put(extra: dict[str, Any], key: str, value: Any) -> None:
    if key == form.HEADERS.key and isinstance(value, Mapping):
        value = _merged(dict(fields.parse_headers(extra.get(key))), value)
    if value in (None, "", [], {}):
        extra.pop(key, None)
    else:
        extra[key] = value


def _merged(headers: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    # Names of headers differ in case only for people.
    named = {name.lower() for name in changes}
    kept = {name: value for name, value in headers.items() if name.lower() not in named}
    return {**kept, **{name: value for name, value in changes.items() if value is not None}}


def rotate_secret(conn_id: str, new_secret: str, *, now: int, overlap: int) -> None:
    """Make `new_secret` the webhook's signing secret; the present one keeps signing for `overlap`.

    :param now: milliseconds since the epoch
    :param overlap: milliseconds
    :raises UnknownWebhookError: where there is none
    :raises ReadOnlyError: where it is kept elsewhere
    :raises ConfigurationError: where the secret can't be used
    """
    check_secret(new_secret)
    with _stored(conn_id) as conn:
        extra = fields.parse_extra(conn.extra)
        previous = fields.parse_previous_secrets(extra.get(form.PREVIOUS_SECRETS.key))
        kept = [item for item in previous if item["expires_at"] > now]
        if overlap > 0 and conn.password:
            kept.insert(0, {"secret": conn.password, "expires_at": now + overlap})
        extra[form.PREVIOUS_SECRETS.key] = kept
        conn.password = new_secret
        conn.extra = json.dumps(extra)
    mask([new_secret, new_secret.removeprefix(SECRET_PREFIX)])


def delete_webhook(conn_id: str) -> None:
    """Delete the Connection of a webhook from the metadata database.

    :raises UnknownWebhookError: where there is none
    :raises ReadOnlyError: where it is kept elsewhere
    """
    from sqlalchemy.orm import object_session

    with _stored(conn_id) as conn:
        session = object_session(conn)
        if session is not None:
            session.delete(conn)


@contextmanager
def _stored(conn_id: str) -> Iterator[Connection]:
    """Give the Connection of a webhook, locked until the block's end, which commits it."""
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select, update

    if not CONN_ID.fullmatch(conn_id):
        raise unknown(conn_id)
    _check_editable(conn_id)
    with create_session(scoped=False) as session:
        wanted = Connection.conn_id == conn_id
        # SQLite locks at the first write and knows no FOR UPDATE, so what is read before that may be old already.
        locked = update(Connection).where(wanted, Connection.conn_type == CONN_TYPE).values(conn_type=CONN_TYPE)
        session.execute(locked, execution_options={"synchronize_session": False})
        conn = session.scalar(select(Connection).where(wanted, Connection.conn_type == CONN_TYPE).with_for_update())
        if conn is None:
            # It says that there is none, or that it is no webhook.
            find_webhook(conn_id)
            raise ReadOnlyError(f"Connection {conn_id!r}", "is kept in a secrets backend; change it there")
        yield conn


def _check_editable(conn_id: str) -> None:
    if in_environment(conn_id):
        raise ReadOnlyError(
            f"Connection {conn_id!r}",
            f"comes from the environment variable {ENVIRONMENT_PREFIX}{conn_id.upper()}; change it there, "
            "and restart Airflow",
        )


def _check_id(conn_id: str) -> None:
    # The metadata database's own limits: SQLite would take more, PostgreSQL would answer with a stack trace.
    if not CONN_ID.fullmatch(conn_id):
        raise ConfigurationError("Connection id", "may have up to 250 letters, digits and -_.:/\\#!(), and no others")


def _endpoint(endpoint: object) -> str:
    if not isinstance(endpoint, str):
        raise ConfigurationError(form.ENDPOINT, "must be a text; give the whole URL that takes the events")
    if len(endpoint) > _LONGEST_ENDPOINT:
        raise ConfigurationError(
            form.ENDPOINT, f"is over {_LONGEST_ENDPOINT} characters; keep this webhook in a secrets backend instead"
        )
    return endpoint


def _nickname(nickname: object, conn_id: str) -> str | None:
    if nickname in (None, "", conn_id):
        return None
    if not isinstance(nickname, str) or len(nickname) > _LONGEST_NICKNAME or not _storable(nickname):
        raise ConfigurationError(
            "Nickname", f"must be a text of up to {_LONGEST_NICKNAME} characters, none of them NUL or half of one"
        )
    return nickname


def _storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


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
