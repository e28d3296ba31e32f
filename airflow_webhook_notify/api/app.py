"""The FastAPI app that Airflow mounts at `/webhook-notify`, and the relay that lives with it.

Invariant: the app is served however the relay or an option is; what is wrong is said in one line of the log. Airflow
mounts it without any authentication, so every route names who may use it; the intake alone asks for a signature.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.concurrency import run_in_threadpool

from airflow_webhook_notify import config
from airflow_webhook_notify.api import description, pages, rest_deliveries, rest_webhooks
from airflow_webhook_notify.api.desk import Desk
from airflow_webhook_notify.api.guards import Guards
from airflow_webhook_notify.api.intake import Intake
from airflow_webhook_notify.api.intake import build_router as build_intake
from airflow_webhook_notify.api.problems import answer_problems
from airflow_webhook_notify.connection import get_webhook
from airflow_webhook_notify.exceptions import WebhookError
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.relay import Relay
from airflow_webhook_notify.relay_settings import RelaySettings
from airflow_webhook_notify.watcher.resident import Watcher, make_watcher

log = logging.getLogger(__name__)


class ResidentRelay:
    """The relay of this API server, where it has one."""

    def __init__(self) -> None:
        self._relay: Relay | None = None

    def start(self, outbox: Outbox) -> None:
        """Start it, unless `[webhook_notify] relay` says that it runs elsewhere."""
        from airflow_webhook_notify.hooks import shared_client

        try:
            if config.RELAY.read() == "external":
                log.info("webhooks: the relay runs elsewhere ([webhook_notify] relay = external)")
                return
            self._relay = Relay(outbox, shared_client(), settings=RelaySettings.read())
            self._relay.start()
        except WebhookError as error:
            log.error("webhooks: no relay runs in this API server: %s", error)

    def wake(self) -> None:
        """Tell it that something is due."""
        if self._relay is not None:
            self._relay.wake()

    def stop(self) -> None:
        """Let it finish what is in flight and give the rest back."""
        if self._relay is not None:
            self._relay.stop()
            self._relay = None


class ResidentWatcher:
    """The watcher of this API server, where it has one."""

    def __init__(self) -> None:
        self._watcher: Watcher | None = None

    def start(self, on_taken: Callable[[], None]) -> None:
        """Start it where the relay is; with several, one looks at a time.

        :param on_taken: called when something was put into the outbox
        """
        try:
            if config.RELAY.read() == "external":
                return
            self._watcher = make_watcher(on_taken=on_taken)
            self._watcher.start()
        except WebhookError as error:
            log.error("webhooks: no watcher runs in this API server: %s", error)

    def stop(self) -> None:
        """Let the look that goes on end, and another watcher go on."""
        if self._watcher is not None:
            self._watcher.stop()
            self._watcher = None


def build_app() -> FastAPI:
    """Return the app."""
    outbox, relay, watcher = Outbox(), ResidentRelay(), ResidentWatcher()

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        relay.start(outbox)
        watcher.start(relay.wake)
        try:
            yield
        finally:
            # They wait for what is in flight, which the event loop must not.
            await run_in_threadpool(watcher.stop)
            await run_in_threadpool(relay.stop)

    app = FastAPI(title="Webhooks", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    add_routes(app, Desk(outbox, on_due=relay.wake), Intake(outbox, get_webhook, on_taken=relay.wake))
    return app


def add_routes(app: FastAPI, desk: Desk, intake: Intake) -> None:
    """Let the app serve the intake, the REST API, its description and the page."""
    app.add_middleware(Guards)
    answer_problems(app)
    # The intake first: it is where a webhook of any id takes events.
    app.include_router(build_intake(intake))
    app.include_router(rest_webhooks.build_router(desk))
    app.include_router(rest_deliveries.build_router(desk))
    app.include_router(description.build_router(app))
    app.include_router(pages.build_router(desk))
