"""The Webhooks page: HTML for whoever may read Connections.

Invariant: a page shows only what its reader may see, offers only what its reader may do, and changes nothing itself;
no signing secret, Authorization or header value is given to a template.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import HTMLResponse, Response

from airflow_webhook_notify import overview, shown
from airflow_webhook_notify.api import static_files
from airflow_webhook_notify.api.access import Reader, Visitor, requires
from airflow_webhook_notify.api.desk import Desk
from airflow_webhook_notify.api.log_query import LogQuery
from airflow_webhook_notify.api.rendering import pretty_json, render
from airflow_webhook_notify.api.rest_deliveries import narrowed, read_delivery, request_headers
from airflow_webhook_notify.connection_reading import UnknownWebhookError
from airflow_webhook_notify.exceptions import OutboxUnavailableError
from airflow_webhook_notify.models import Attempt, DeliveryState
from airflow_webhook_notify.outbox.records import DeliveryDetail, DeliveryFilter, Page
from airflow_webhook_notify.topics import JOB_TOPICS, OVERDUE, PING

#: How many deliveries a page of the log has, and how many the page of one webhook.
_PAGE, _NEWEST = 50, 10
_STATES = [(state.value, state.value.replace("_", " ")) for state in DeliveryState]
_TOPICS = (*JOB_TOPICS, OVERDUE, PING)
_KEPT = "private, max-age=31536000, immutable"


class Pages:
    """What each page shows, without HTTP; every method returns the values of its template."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def webhooks(self, visitor: Visitor) -> dict[str, Any]:
        """The list of all webhooks."""
        found = overview.webhooks(self._desk.outbox, now=self._desk.now(), permitted=visitor.permitted)
        return {"webhooks": found.webhooks, "trouble": found.problem, "may_create": visitor.may("POST")}

    def webhook(self, visitor: Visitor, conn_id: str) -> dict[str, Any]:
        """One webhook and its newest deliveries.

        :raises UnknownWebhookError: where there is none
        """
        now = self._desk.now()
        each = overview.one(self._desk.outbox, conn_id, now=now)
        wanted = DeliveryFilter(webhook_id=conn_id)
        newest = Page() if each.outbox_problem else self._desk.outbox.deliveries(wanted, limit=_NEWEST)
        return {
            "each": each,
            "trouble": each.outbox_problem,
            "old_secret_until": each.webhook and each.webhook.old_secret_until(now),
            "records": newest.deliveries,
            "paused_ids": {conn_id} if each.status.paused else set(),
            "now": now,
            "may_edit": visitor.may("PUT", conn_id),
            "may_delete": visitor.may("DELETE", conn_id),
        }

    def deliveries(self, visitor: Visitor, asked: LogQuery) -> dict[str, Any]:
        """A page of the delivery log."""
        now, trouble, page, ids, paused = self._desk.now(), None, Page(), frozenset[str](), set[str]()
        try:
            ids, paused = visitor.permitted(self._desk.outbox.webhook_ids()), self._paused()
            wanted = narrowed(self._desk, visitor, asked.filter(now=now), "GET")
            page = self._desk.outbox.deliveries(wanted, cursor=asked.cursor or None, limit=_PAGE)
        except (ValueError, OutboxUnavailableError) as error:
            trouble = str(error)
        return {
            "asked": asked,
            "tab": asked.tab,
            "filtered": asked.filtered,
            "trouble": trouble,
            "records": page.deliveries,
            "older": page.cursor and asked.address(cursor=page.cursor),
            "newest": asked.address(cursor=None),
            "paused_ids": paused,
            "webhook_ids": sorted(ids),
            "states": _STATES,
            "all_topics": _TOPICS,
            "now": now,
            "may_edit": visitor.may("PUT"),
        }

    def _paused(self) -> set[str]:
        return {each.webhook_id for each in self._desk.outbox.webhook_states().values() if each.paused}

    def delivery(self, visitor: Visitor, delivery_id: str) -> dict[str, Any]:
        """One delivery.

        :raises HTTPException: 404 where there is none of that id, 403 where the visitor may not see it
        """
        detail = read_delivery(self._desk, visitor, delivery_id, "GET")
        webhook_id = detail.record.webhook_id
        return {
            "record": detail.record,
            "attempts": _masked(detail),
            "payload": pretty_json(shown.shown_payload(detail)),
            "headers": request_headers(detail),
            "paused": webhook_id in self._paused(),
            "now": self._desk.now(),
            "may_edit": visitor.may("PUT", webhook_id),
        }


def _masked(detail: DeliveryDetail) -> list[Attempt]:
    mask = shown.masker_of(detail.record.webhook_id)
    return [
        replace(attempt, error=attempt.error and mask(attempt.error), response=mask(attempt.response))
        for attempt in detail.attempts
    ]


def build_router(desk: Desk) -> APIRouter:
    """Return the routes of the page."""
    router, pages = APIRouter(include_in_schema=False), Pages(desk)
    _add_webhooks(router, pages)
    _add_deliveries(router, pages)
    router.add_api_route("/static/{version}/{name}", _show_static, dependencies=[Depends(requires("GET"))])
    return router


def _add_webhooks(router: APIRouter, pages: Pages) -> None:
    @router.get("/")
    def show_webhooks(request: Request, visitor: Reader) -> Response:
        return _html(request, "webhooks.html", pages.webhooks(visitor), here="webhooks")

    @router.get("/webhook")
    # A parameter, not a part of the path: a Connection's id may hold what a browser takes out of paths.
    def show_webhook(request: Request, visitor: Reader, id: str = "") -> Response:  # noqa: A002
        visitor.check("GET", id)
        try:
            return _html(request, "webhook.html", pages.webhook(visitor, id), here="webhooks")
        except UnknownWebhookError as error:
            return _trouble(request, 404, "No such webhook", str(error))


def _add_deliveries(router: APIRouter, pages: Pages) -> None:
    @router.get("/deliveries")
    def show_deliveries(request: Request, visitor: Reader) -> Response:
        asked = LogQuery.of(request.query_params)
        return _html(request, "deliveries.html", pages.deliveries(visitor, asked), here="deliveries")

    @router.get("/deliveries/{delivery_id}")
    def show_delivery(request: Request, visitor: Reader, delivery_id: str) -> Response:
        try:
            return _html(request, "delivery.html", pages.delivery(visitor, delivery_id), here="deliveries")
        except OutboxUnavailableError as error:
            return _trouble(request, 503, "The delivery log can't be read", str(error))
        except HTTPException as error:
            if error.status_code != 404:
                raise
            return _trouble(request, 404, "No such delivery", "The log keeps what has ended for a while only.")


def _show_static(version: str, name: str) -> Response:
    file = static_files.files().get(name)
    if file is None:
        return Response(status_code=404)
    # An address of another version must not be kept: its content is not what it was.
    headers = {"Cache-Control": _KEPT} if version == static_files.version() else {}
    return Response(file.content, media_type=file.media_type, headers=headers)


def _html(request: Request, name: str, values: Mapping[str, Any], *, here: str, status: int = 200) -> Response:
    root = request.scope.get("root_path", "").rstrip("/")
    places = {"root": root, "static": f"{root}/static/{static_files.version()}", "here": here}
    return HTMLResponse(render(name, {**places, **values}), status_code=status)


def _trouble(request: Request, status: int, heading: str, words: str) -> Response:
    values = {"heading": heading, "words": words}
    return _html(request, "trouble.html", values, here="", status=status)
