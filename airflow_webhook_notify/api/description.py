"""The OpenAPI description of the REST API.

Invariant: whoever reads it is signed in and may read Connections; every route of `/v1` is in it.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from airflow_webhook_notify.api.access import Reader
from airflow_webhook_notify.api.errors import errors
from airflow_webhook_notify.version import package_version

_ABOUT = (
    "Webhooks of this Airflow and their deliveries: what the Webhooks page and `airflow webhooks` do.\n\n"
    "Sign in as for Airflow's own API: with `Authorization: Bearer` and a token of `POST /auth/token`. Reading needs "
    "the right to read Connections, changing the right to edit them, by the auth manager that this Airflow uses. A "
    "connection id may hold `/`; all ids are percent-encoded in a path."
)


def build_router(app: FastAPI) -> APIRouter:
    """Return the route of the description."""
    router = APIRouter(prefix="/v1", tags=["Description"])

    @cache
    def described() -> dict[str, Any]:
        return describe(app)

    @router.get("/openapi.json", response_model=dict[str, Any], responses=errors())
    def show_description(request: Request, _visitor: Reader) -> JSONResponse:
        """Describe this API, as OpenAPI 3.1."""
        return JSONResponse({**described(), "servers": [{"url": request.scope.get("root_path") or "/"}]})

    return router


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the description of the app's routes."""
    return get_openapi(title="Webhooks", version=package_version(), description=_ABOUT, routes=app.routes)
