"""Who may do what, by the auth manager that this Airflow uses.

Invariant: reading a webhook, or anything of its deliveries, needs the right to read its Connection, changing it the
right to edit that; a change that a browser sends comes from Airflow's own pages.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Annotated, Any
from urllib.parse import urlsplit

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.base_auth_manager import ResourceMethod
from airflow.api_fastapi.auth.managers.models.resource_details import ConnectionDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.configuration import conf
from fastapi import Depends, HTTPException, Request

from airflow_webhook_notify.connection import CONN_ID, teams_of

_SAFE = ("GET", "HEAD", "OPTIONS")


class Visitor:
    """Who asks, and what that person may do.

    Its methods ask the auth manager and may ask the database, so none is for an event loop.
    """

    def __init__(self, user: Any) -> None:
        self.user = user

    @property
    def name(self) -> str:
        """The name, as Airflow's audit log shows it."""
        return str(self.user.get_name())

    def may(self, method: ResourceMethod, conn_id: str | None = None) -> bool:
        """Return whether this person may do so with a Connection; without one, with Connections at all.

        :param method: `GET` to read, `POST` to make, `PUT` to change, `DELETE` to delete
        """
        if conn_id is not None and not CONN_ID.fullmatch(conn_id):
            # There can be none of that id, which whoever asks is told once let in.
            conn_id = None
        team = teams_of([conn_id]).get(conn_id) if conn_id else None
        details = ConnectionDetails(conn_id=conn_id, team_name=team)
        return bool(get_auth_manager().is_authorized_connection(method=method, details=details, user=self.user))

    def check(self, method: ResourceMethod, conn_id: str | None = None) -> None:
        """Return where this person may.

        :raises HTTPException: 403, as Airflow answers it, where not
        """
        if not self.may(method, conn_id):
            raise HTTPException(403, "Forbidden")

    def permitted(self, conn_ids: Collection[str], method: ResourceMethod = "GET") -> frozenset[str]:
        """Return those of the Connections with which this person may do so."""
        by_team: dict[str | None, set[str]] = defaultdict(set)
        teams = teams_of(conn_ids)
        for conn_id in conn_ids:
            by_team[teams.get(conn_id)].add(conn_id)
        found: set[str] = set()
        for team, ids in by_team.items():
            found |= get_auth_manager().filter_authorized_connections(
                conn_ids=ids, user=self.user, method=method, team_name=team
            )
        return frozenset(found)


def signed_in(user: GetUserDep) -> Visitor:
    """Return who asks; Airflow answers 401 where it is nobody."""
    return Visitor(user)


VisitorDep = Annotated[Visitor, Depends(signed_in)]


def requires(method: ResourceMethod) -> Callable[..., Visitor]:
    """Return a dependency that lets in who may do so with the Connection that the path names as `conn_id`.

    Where the path names none: with Connections at all.
    """

    def check(request: Request, visitor: VisitorDep) -> Visitor:
        if request.method not in _SAFE:
            check_origin(request)
            check_type(request)
        visitor.check(method, request.path_params.get("conn_id"))
        return visitor

    return check


Reader = Annotated[Visitor, Depends(requires("GET"))]
Maker = Annotated[Visitor, Depends(requires("POST"))]
Editor = Annotated[Visitor, Depends(requires("PUT"))]
Deleter = Annotated[Visitor, Depends(requires("DELETE"))]


def check_origin(request: Request) -> None:
    """Return where no other site's page can have sent this request.

    :raises HTTPException: 403 where one can
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is None and origin is None:
        # No browser leaves both out of a change, and none adds a bearer token by itself. Airflow adds one where
        # everyone is an administrator, which is why this comes last.
        if _has_bearer(request):
            return
        raise HTTPException(403, "Forbidden: sign in with `Authorization: Bearer` where this is no page of Airflow's")
    if origin in _trusted_origins():
        return
    same = site in ("same-origin", "none") if site is not None else _is_ours(request, origin or "")
    if not same:
        raise HTTPException(403, "Forbidden: this change was asked for by a page of another site")


def _has_bearer(request: Request) -> bool:
    return any(value.lower().startswith("bearer ") for value in request.headers.getlist("authorization"))


def _trusted_origins() -> list[str]:
    # Those whose pages may use Airflow's own API as the user.
    return list(conf.getlist("api", "access_control_allow_origins", fallback=""))


def _is_ours(request: Request, origin: str) -> bool:
    # The host alone: a proxy may have ended TLS, so that the scheme here is not what the browser sees.
    try:
        host, base = urlsplit(origin).netloc, urlsplit(conf.get("api", "base_url", fallback="")).netloc
    except ValueError:
        return False
    return bool(host) and host in (request.headers.get("host"), base)


def check_type(request: Request) -> None:
    """Return where the request has no body, or one of JSON, which no form of another site can send.

    :raises HTTPException: 415 where not
    """
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if has_body and kind != "application/json":
        raise HTTPException(415, "the body must be application/json")
