"""The routes of webhooks.

Invariant: each names who may use it, each that changes something is in Airflow's audit log, and none waits on the
event loop.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Query

from airflow_webhook_notify import administration, overview
from airflow_webhook_notify.administration import SentPing
from airflow_webhook_notify.api import audit, schemas
from airflow_webhook_notify.api.access import Deleter, Editor, Maker, Reader, Visitor
from airflow_webhook_notify.api.descriptions import describe_headers, describe_webhook
from airflow_webhook_notify.api.desk import Desk
from airflow_webhook_notify.api.errors import errors
from airflow_webhook_notify.connection import find_webhook
from airflow_webhook_notify.models import Delivery, SigningSecret, Webhook
from airflow_webhook_notify.moments import write_moment
from airflow_webhook_notify.shown import masker_of, payload_of, shown_headers
from airflow_webhook_notify.signing import generate_secret

_DOCTOR = "airflow webhooks doctor"
#: Pings that are under way at once. They last as long as their endpoints let them, and Airflow's own routes need the
#: other threads.
_PINGS = 8


def build_router(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/webhooks", tags=["Webhooks"])
    _add_reading(router, desk)
    _add_making(router, desk)
    _add_changing(router, desk)
    _add_states(router, desk)
    _add_ping(router, desk)
    return router


def _add_reading(router: APIRouter, desk: Desk) -> None:
    @router.get("", responses=errors())
    def list_webhooks(
        visitor: Reader,
        limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 200,
        cursor: Annotated[str | None, Query(max_length=250, description="Of the page before.")] = None,
    ) -> schemas.WebhooksOut:
        """List the webhooks that you may read, by id; those of a secrets backend can't be listed."""
        now = desk.now()
        found = overview.webhooks(desk.outbox, now=now, permitted=visitor.permitted, after=cursor, limit=limit)
        editable = visitor.permitted({one.id for one in found.webhooks}, "PUT")
        shown = [describe_webhook(one, may_edit=one.id in editable, now=now) for one in found.webhooks]
        return schemas.WebhooksOut.model_validate({"webhooks": shown, "cursor": found.cursor, "problem": found.problem})

    @router.get("/{conn_id:path}", responses=errors(404))
    def show_webhook(conn_id: str, visitor: Reader) -> schemas.WebhookOut:
        """Show one webhook."""
        return _shown(desk, conn_id, visitor)


def _shown(desk: Desk, conn_id: str, visitor: Visitor) -> schemas.WebhookOut:
    now = desk.now()
    one = overview.one(desk.outbox, conn_id, now=now)
    described = describe_webhook(one, may_edit=visitor.may("PUT", conn_id), now=now)
    return schemas.WebhookOut.model_validate(described)


def _add_making(router: APIRouter, desk: Desk) -> None:
    @router.post("", status_code=201, responses=errors(409, body=True))
    def add_webhook(body: schemas.NewWebhook, visitor: Maker) -> schemas.MadeWebhook:
        """Make a webhook; where you give no signing secret, one is made and shown this once."""
        visitor.check("POST", body.id)
        audit.note(visitor, "webhooks_add", webhook=body.id[:250], fields=sorted(body.model_fields_set))
        secret = body.secret or generate_secret()
        administration.create(_webhook_from(body, secret))
        webhook = _shown(desk, body.id, visitor)
        return schemas.MadeWebhook(webhook=webhook, secret=None if body.secret else secret)

    @router.delete("/{conn_id:path}", responses=errors(404, 409, body=True))
    def delete_webhook(conn_id: str, visitor: Deleter) -> schemas.Deleted:
        """Delete a webhook, and cancel what waits for it; its deliveries stay in the log."""
        audit.note(visitor, "webhooks_delete", webhook=conn_id[:250])
        return schemas.Deleted(id=conn_id, cancelled=administration.delete(desk.outbox, conn_id))


def _webhook_from(body: schemas.NewWebhook, secret: str) -> Webhook:
    given = body.model_dump(
        exclude_none=True, exclude={"id", "secret", "headers", "nickname", "authorization", "proxy"}
    )
    for name in ("topics", "dags", "tags"):
        if name in given:
            given[name] = tuple(given[name])
    if not given.get("topics"):
        given.pop("topics", None)
    return Webhook(
        id=body.id,
        secrets=(SigningSecret(secret),),
        nickname=body.nickname or body.id,
        authorization=body.authorization or None,
        proxy=body.proxy or None,
        headers=tuple((body.headers or {}).items()),
        **given,
    )


def _add_changing(router: APIRouter, desk: Desk) -> None:
    @router.patch("/{conn_id:path}", responses=errors(404, 409, body=True))
    def change_webhook(conn_id: str, body: schemas.Changes, visitor: Editor) -> schemas.WebhookOut:
        """Change what the body names, and nothing else."""
        changes = body.model_dump(mode="json", exclude_unset=True)
        audit.note(visitor, "webhooks_edit", webhook=conn_id[:250], fields=sorted(changes))
        administration.change(conn_id, changes)
        return _shown(desk, conn_id, visitor)

    @router.post("/{conn_id:path}/rotate-secret", responses=errors(404, 409, body=True))
    def rotate_secret(conn_id: str, visitor: Editor, body: schemas.Overlap | None = None) -> schemas.NewSecret:
        """Give a webhook a new signing secret, and let the old one sign for a while."""
        overlap = round((body or schemas.Overlap()).overlap * 1000)
        audit.note(visitor, "webhooks_rotate_secret", webhook=conn_id[:250], overlap_ms=overlap)
        rotated = administration.rotate(conn_id, now=desk.now(), overlap=overlap)
        until = write_moment(rotated.old_secret_until)
        return schemas.NewSecret(id=conn_id, secret=rotated.secret, old_secret_until=until)


def _add_states(router: APIRouter, desk: Desk) -> None:
    @router.post("/{conn_id:path}/pause", responses=errors(404, body=True))
    def pause_webhook(conn_id: str, visitor: Editor, body: schemas.Reason | None = None) -> schemas.WebhookOut:
        """Let a webhook's deliveries wait; pings and redeliveries still go."""
        reason = (body or schemas.Reason()).reason
        audit.note(visitor, "webhooks_pause", webhook=conn_id[:250], reason=reason)
        administration.pause(desk.outbox, conn_id, reason, now=desk.now())
        return _shown(desk, conn_id, visitor)

    @router.post("/{conn_id:path}/resume", responses=errors(404, body=True))
    def resume_webhook(conn_id: str, visitor: Editor) -> schemas.WebhookOut:
        """Let the deliveries of a paused webhook go: the oldest first, not all at once."""
        audit.note(visitor, "webhooks_resume", webhook=conn_id[:250])
        if administration.resume(desk.outbox, conn_id, now=desk.now()):
            desk.on_due()
        return _shown(desk, conn_id, visitor)


def _add_ping(router: APIRouter, desk: Desk) -> None:
    pings = CapacityLimiter(_PINGS)

    @router.post("/{conn_id:path}/ping", responses=errors(404, body=True))
    async def ping_webhook(conn_id: str, visitor: Editor) -> schemas.PingOut:
        """Send one `webhook.ping` now and say how it ended; 200 whatever the endpoint answered."""
        ping = partial(_ping, desk, conn_id, visitor)
        return schemas.PingOut.model_validate(await to_thread.run_sync(ping, limiter=pings))


def _ping(desk: Desk, conn_id: str, visitor: Visitor) -> dict[str, Any]:
    audit.note(visitor, "webhooks_ping", webhook=conn_id[:250])
    webhook = find_webhook(conn_id).webhook
    return _describe_ping(administration.ping(conn_id, outbox=desk.outbox), webhook, conn_id)


def _describe_ping(sent: SentPing, webhook: Webhook | None, conn_id: str) -> dict[str, Any]:
    (event, attempt), mask = sent.ping, masker_of(conn_id)
    delivery = Delivery.of(event, conn_id)
    return {
        "delivery_id": delivery.id,
        "event_id": event.id,
        "status": attempt.status,
        "duration": round(attempt.duration, 3),
        "error": attempt.error and mask(attempt.error),
        "advice": administration.advice_on(attempt, doctor=f"{_DOCTOR} {conn_id}"),
        "response": mask(attempt.response),
        "request": {
            "headers": describe_headers(shown_headers(webhook, delivery, attempt)),
            "payload": payload_of(delivery, number=attempt.number),
        },
        "unlogged": sent.unlogged,
    }
