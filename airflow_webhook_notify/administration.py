"""What a person does to webhooks and deliveries; the CLI, the REST API and the Webhooks page share it.

Invariant: each function does all that belongs to its action, in an order in which being cut off leaves nothing half
done that can't be done again.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_webhook_notify import connection_store, signing
from airflow_webhook_notify.connection import CONN_ID, find_webhook
from airflow_webhook_notify.connection_reading import UnknownWebhookError, unknown
from airflow_webhook_notify.exceptions import OutboxMissingError
from airflow_webhook_notify.models import Attempt, Webhook
from airflow_webhook_notify.outbox.records import DeliveryFilter
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.pings import log_ping

if TYPE_CHECKING:
    from airflow_webhook_notify.hooks import Ping

#: How many deliveries one transaction changes.
BATCH = 1000
#: How long the old signing secret goes on signing unless somebody says otherwise, in milliseconds.
OVERLAP = 24 * 3_600_000
_ADVICE = {
    401: "check the webhook's Authorization header, and that the receiver holds its signing secret",
    403: "check the webhook's Authorization header, and that the receiver holds its signing secret",
    404: "check the path of the Endpoint URL",
    405: "check the path of the Endpoint URL; it has to take POST requests",
    410: "the receiver no longer wants these events; ask its owner, or delete the webhook",
    413: "the receiver refuses bodies of this size; ask its owner",
    429: "the receiver gets more than it wants at the moment; try again later",
}


class Rotated(NamedTuple):
    """A new signing secret.

    :param old_secret_until: until when the old one signs too, in milliseconds since the epoch; None where it does not
    """

    secret: str
    old_secret_until: int | None


class Redelivered(NamedTuple):
    """What became of the deliveries that somebody named.

    :param ids: those that are due now
    :param unknown: those that there are none of
    """

    ids: tuple[str, ...]
    unknown: tuple[str, ...]


class SentPing(NamedTuple):
    """A ping, how it ended, and why it is not in the delivery log; None where it is."""

    ping: Ping
    unlogged: str | None


def create(webhook: Webhook) -> None:
    """Store a new webhook.

    :raises TakenError: where its id is taken
    :raises ConfigurationError: where a field can't be used
    """
    connection_store.create_webhook(webhook)


def change(conn_id: str, changes: Mapping[str, Any]) -> Webhook:
    """Change fields of a webhook, see :func:`change_webhook`, and return it as it is then."""
    return connection_store.change_webhook(conn_id, changes)


def rotate(conn_id: str, *, now: int, overlap: int = OVERLAP, secret: str | None = None) -> Rotated:
    """Give a webhook a new signing secret.

    :param now: milliseconds since the epoch
    :param overlap: for how many milliseconds the old one signs too
    :param secret: the new one; a generated one where None
    :raises ConfigurationError: where there is no such webhook, it is kept elsewhere, or the secret can't be used
    """
    new = signing.generate_secret() if secret is None else secret
    connection_store.rotate_secret(conn_id, new, now=now, overlap=overlap)
    return Rotated(new, now + overlap if overlap else None)


def delete(outbox: Outbox, conn_id: str) -> int:
    """Delete a webhook's Connection, cancel what waits for it, and return how many deliveries that were.

    What was sent or cancelled stays in the delivery log.

    :raises UnknownWebhookError: where there is no such webhook and nothing waits for one that was
    :raises ReadOnlyError: where it is kept elsewhere
    """
    _check_id(conn_id)
    missing: UnknownWebhookError | None = None
    try:
        # First, so that nothing new comes in.
        connection_store.delete_webhook(conn_id)
    except UnknownWebhookError as error:
        # Whoever was cut off between this and what follows can do it again.
        missing = error
    try:
        cancelled = sum(outbox.cancel_waiting(conn_id, batch=BATCH))
        outbox.forget(conn_id)
    except OutboxMissingError:
        cancelled = 0
    if missing is not None and not cancelled:
        raise missing
    return cancelled


def _check_id(conn_id: str) -> None:
    # What can be no id may be what no database takes.
    if not CONN_ID.fullmatch(conn_id):
        raise unknown(conn_id)


def pause(outbox: Outbox, conn_id: str, reason: str, *, now: int) -> bool:
    """Let a webhook's deliveries wait; return False where they already did.

    :param now: milliseconds since the epoch
    :raises UnknownWebhookError: where there is no such webhook
    """
    find_webhook(conn_id)
    return outbox.pause(conn_id, reason, now=now)


def resume(outbox: Outbox, conn_id: str, *, now: int) -> bool:
    """Let the deliveries of a paused webhook go again; return False where it was not paused.

    :param now: milliseconds since the epoch
    :raises UnknownWebhookError: where it was not paused and there is none
    """
    _check_id(conn_id)
    if outbox.resume(conn_id, now=now):
        return True
    # A webhook whose Connection is gone can still be resumed, but not one that never was.
    find_webhook(conn_id)
    return False


def ping(conn_id: str, *, outbox: Outbox | None = None) -> SentPing:
    """Send one `webhook.ping`, and write it into the delivery log; it lasts as long as the webhook's timeout.

    :param outbox: None for that of Airflow's metadata database
    :raises ConfigurationError: where there is no such webhook, or it can't be used
    """
    # Here, not above: `requests` is only for what sends.
    from airflow_webhook_notify.hooks import WebhookHook

    sent = WebhookHook(conn_id).ping()
    return SentPing(sent, log_ping(conn_id, sent.event, sent.attempt, outbox=outbox))


def advice_on(attempt: Attempt, *, doctor: str) -> str | None:
    """Return what to do about an attempt that failed; None where it did not.

    :param doctor: the command that checks the webhook
    """
    status = attempt.status
    if attempt.succeeded:
        return None
    if status is None:
        return f"`{doctor}` checks each step on the way"
    if 300 <= status < 400:
        return "redirects are not followed: put the final URL into the Endpoint URL"
    if status >= 500:
        return "see the receiver's own log"
    return _ADVICE.get(
        status, "the receiver refuses the request: see its log, and check that it holds the signing secret"
    )


def is_delivery_id(text: str) -> bool:
    """Return whether a text can be the id of a delivery: what can't never reaches the database."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False


def redeliver(outbox: Outbox, ids: Sequence[str], *, now: int) -> Redelivered:
    """Make deliveries due at once, whatever state they are in.

    :param now: milliseconds since the epoch
    """
    wanted = list(dict.fromkeys(ids))
    known, found = [each for each in wanted if is_delivery_id(each)], set[str]()
    for start in range(0, len(known), BATCH):
        found.update(outbox.redeliver(known[start : start + BATCH], now=now))
    return Redelivered(
        tuple(each for each in wanted if each in found), tuple(each for each in wanted if each not in found)
    )


def redeliver_dead_letters(outbox: Outbox, wanted: DeliveryFilter, *, now: int) -> int:
    """Make all dead letters due at once that a filter asks for, and return how many.

    :param now: milliseconds since the epoch
    """
    return outbox.redeliver_dead_letters(wanted, now=now)
