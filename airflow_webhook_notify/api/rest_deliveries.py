"""The routes of deliveries.

Invariant: nothing of a delivery reaches somebody who may not read its webhook, and nobody sends one again who may not
edit it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query

from airflow_webhook_notify import administration
from airflow_webhook_notify.api import audit, schemas
from airflow_webhook_notify.api.access import Editor, Reader, Visitor
from airflow_webhook_notify.api.descriptions import describe_headers
from airflow_webhook_notify.api.desk import Desk
from airflow_webhook_notify.api.errors import errors
from airflow_webhook_notify.connection import get_webhook
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.models import Delivery, DeliveryState, Webhook
from airflow_webhook_notify.moments import moment_of
from airflow_webhook_notify.outbox.records import DeliveryDetail, DeliveryFilter, Page
from airflow_webhook_notify.shown import attempt_fields, delivery_fields, masker_of, shown_headers, shown_payload

_INTEGER = 2**31 - 1


@dataclass(frozen=True)
class Asked:
    """Which deliveries somebody asks for, as the query or the body of a request has it."""

    webhook: str | None = None
    state: DeliveryState | None = None
    topic: str | None = None
    dag: str | None = None
    run: str | None = None
    task: str | None = None
    map_index: int | None = None
    try_number: int | None = None
    since: str | None = None
    until: str | None = None

    def filter_at(self, now: int) -> DeliveryFilter:
        """Return what the outbox is asked for.

        :param now: milliseconds since the epoch
        :raises HTTPException: 422, naming the field
        """
        return DeliveryFilter(
            webhook_id=_text("webhook", self.webhook),
            state=self.state,
            topic=_text("topic", self.topic),
            dag_id=_text("dag", self.dag),
            run_id=_text("run", self.run),
            task_id=_text("task", self.task),
            map_index=self.map_index,
            try_number=self.try_number,
            since=_moment("since", self.since, now),
            until=_moment("until", self.until, now),
        )


def _text(name: str, value: str | None) -> str | None:
    # An empty field of a form asks for nothing.
    if value and ("\0" in value or len(value) > 250):
        raise HTTPException(422, f"{name}: must have at most 250 characters, none of them NUL")
    return value or None


def _moment(name: str, value: str | None, now: int) -> int | None:
    try:
        return moment_of(value).at(now) if value else None
    except ValueError as error:
        raise HTTPException(422, f"{name}: {error}") from None


def build_router(desk: Desk) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/v1/deliveries", tags=["Deliveries"])
    _add_list(router, desk)
    _add_redelivery(router, desk)
    _add_one(router, desk)
    return router


def _add_list(router: APIRouter, desk: Desk) -> None:
    @router.get("", responses=errors())
    def list_deliveries(
        visitor: Reader,
        webhook: Annotated[str | None, Query(description="Its connection id.")] = None,
        state: DeliveryState | None = None,
        topic: str | None = None,
        dag: Annotated[str | None, Query(description="About this DAG and its tasks.")] = None,
        run: Annotated[str | None, Query(description="About this run.")] = None,
        task: Annotated[str | None, Query(description="About this task.")] = None,
        map_index: Annotated[int | None, Query(ge=-1, le=_INTEGER)] = None,
        try_number: Annotated[int | None, Query(ge=0, le=_INTEGER)] = None,
        since: Annotated[str | None, Query(description="Taken in since then: 15m, 24h, 7d ago, or a date.")] = None,
        until: Annotated[str | None, Query(description="Taken in before then.")] = None,
        limit: Annotated[int, Query(ge=1, le=1000, description="At most so many.")] = 50,
        cursor: Annotated[str | None, Query(description="Of the page before.")] = None,
    ) -> schemas.DeliveriesOut:
        """List deliveries of the webhooks that you may read, newest first."""
        asked = Asked(webhook, state, topic, dag, run, task, map_index, try_number, since, until)
        page = read_page(desk, visitor, asked.filter_at(desk.now()), cursor=cursor, limit=limit)
        return _describe_page(desk, page)


def read_page(desk: Desk, visitor: Visitor, wanted: DeliveryFilter, *, cursor: str | None, limit: int) -> Page:
    """Return the deliveries that a filter asks for and the visitor may read.

    :raises HTTPException: 403 where it names a webhook that the visitor may not read, 422 for a bad cursor
    """
    try:
        return desk.outbox.deliveries(narrowed(desk, visitor, wanted, "GET"), cursor=cursor or None, limit=limit)
    except ValueError as error:
        raise HTTPException(422, f"cursor: {error}") from None


def narrowed(desk: Desk, visitor: Visitor, wanted: DeliveryFilter, method: Any) -> DeliveryFilter:
    """Return the filter, narrowed to the webhooks with which the visitor may do so.

    :raises HTTPException: 403 where it names one with which not
    """
    if wanted.webhook_id is not None:
        visitor.check(method, wanted.webhook_id)
        return wanted
    known = desk.outbox.webhook_ids()
    permitted = visitor.permitted(known, method)
    # Where all are permitted, the database answers from the index of the newest.
    return wanted if permitted == known else replace(wanted, webhook_ids=permitted)


def _describe_page(desk: Desk, page: Page) -> schemas.DeliveriesOut:
    states = desk.outbox.webhook_states({record.webhook_id for record in page.deliveries})
    paused = {each.webhook_id for each in states.values() if each.paused}
    shown = [delivery_fields(record, paused=record.webhook_id in paused) for record in page.deliveries]
    return schemas.DeliveriesOut.model_validate({"deliveries": shown, "cursor": page.cursor})


def _add_one(router: APIRouter, desk: Desk) -> None:
    @router.get("/{delivery_id}", responses=errors(404))
    def show_delivery(
        delivery_id: Annotated[str, Path(description="As the list has it.")], visitor: Reader
    ) -> schemas.DeliveryDetailOut:
        """Show a delivery, its payload, the headers of its latest attempt, and every attempt."""
        detail = read_delivery(desk, visitor, delivery_id, "GET")
        return schemas.DeliveryDetailOut.model_validate(_describe(desk, detail))

    @router.post("/{delivery_id}/redeliver", status_code=202, responses=errors(404, body=True))
    def redeliver_one(delivery_id: str, visitor: Editor) -> schemas.Redelivered:
        """Send a delivery again now, whatever state it is in; its event id stays the same."""
        read_delivery(desk, visitor, delivery_id, "PUT")
        audit.note(visitor, "webhooks_redeliver", deliveries=[delivery_id])
        return _redeliver(desk, [delivery_id])


def read_delivery(desk: Desk, visitor: Visitor, delivery_id: str, method: Any) -> DeliveryDetail:
    """Return a delivery.

    :raises HTTPException: 404 where there is none, 403 where the visitor may not do so with its webhook
    """
    detail = desk.outbox.delivery(delivery_id) if administration.is_delivery_id(delivery_id) else None
    if detail is None:
        raise HTTPException(404, f"there is no delivery {delivery_id[:80]!r}; GET v1/deliveries lists what there is")
    visitor.check(method, detail.record.webhook_id)
    return detail


def _describe(desk: Desk, detail: DeliveryDetail) -> dict[str, Any]:
    webhook_id = detail.record.webhook_id
    states = desk.outbox.webhook_states([webhook_id])
    paused = webhook_id in states and states[webhook_id].paused
    return {
        **delivery_fields(detail.record, paused=paused),
        "payload": shown_payload(detail),
        "request_headers": request_headers(detail),
        "attempts": list(attempt_fields(detail, masker_of(webhook_id))),
    }


def request_headers(detail: DeliveryDetail) -> list[dict[str, str]]:
    """Return the headers of the latest attempt, as they may be shown; none where none was made."""
    if not detail.attempts:
        return []
    record = detail.record
    delivery = Delivery(record.id, record.webhook_id, detail.event)
    return describe_headers(shown_headers(_webhook_or_none(record.webhook_id), delivery, detail.attempts[-1]))


def _webhook_or_none(conn_id: str) -> Webhook | None:
    try:
        return get_webhook(conn_id)
    except ConfigurationError:
        return None


def _add_redelivery(router: APIRouter, desk: Desk) -> None:
    @router.post("/redeliver", status_code=202, responses=errors(body=True))
    def redeliver_many(body: schemas.Wanted, visitor: Editor) -> schemas.Redelivered:
        """Send deliveries again now: those of these ids, or all dead letters that a filter asks for."""
        if body.dead_letters == bool(body.ids):
            raise HTTPException(422, "give either ids, or dead_letters with since")
        if body.dead_letters:
            return _redeliver_dead_letters(desk, visitor, body)
        named = sorted(body.model_fields_set & {"since", "until", "webhook", "topic", "dag", "run"})
        if named:
            raise HTTPException(422, f"{named[0]}: chooses among dead_letters; leave it out where you give ids")
        return _redeliver_ids(desk, visitor, body.ids or [])


def _redeliver_ids(desk: Desk, visitor: Visitor, ids: list[str]) -> schemas.Redelivered:
    webhooks = set(desk.outbox.webhooks_of([each for each in ids if administration.is_delivery_id(each)]).values())
    if visitor.permitted(webhooks, "PUT") != webhooks:
        raise HTTPException(403, "Forbidden")
    # The log has a limit, and what is in it is for people.
    audit.note(visitor, "webhooks_redeliver", deliveries=[each[:36] for each in ids[:20]], count=len(ids))
    return _redeliver(desk, ids)


def _redeliver(desk: Desk, ids: list[str]) -> schemas.Redelivered:
    done = administration.redeliver(desk.outbox, ids, now=desk.now())
    desk.on_due()
    return schemas.Redelivered(redelivered=len(done.ids), unknown=list(done.unknown))


def _redeliver_dead_letters(desk: Desk, visitor: Visitor, body: schemas.Wanted) -> schemas.Redelivered:
    if not body.since:
        raise HTTPException(422, "since: is missing; say how far back, such as 2d")
    now = desk.now()
    asked = Asked(body.webhook, None, body.topic, body.dag, body.run, since=body.since, until=body.until)
    wanted = narrowed(desk, visitor, asked.filter_at(now), "PUT")
    told = {name: getattr(asked, name) for name in ("webhook", "topic", "dag", "run", "since", "until")}
    audit.note(visitor, "webhooks_redeliver", dead_letters=True, **told)
    number = administration.redeliver_dead_letters(desk.outbox, wanted, now=now)
    desk.on_due()
    return schemas.Redelivered(redelivered=number, unknown=[])
