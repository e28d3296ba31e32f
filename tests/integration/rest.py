"""Airflow's API server in this process, with our app mounted as Airflow mounts it, and visitors who ask it.

Invariant: each answer of the REST API is checked against its own description, and kept, so that a test can search all
of them for what none may hold.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import unquote

import jsonschema
import requests
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Match, Mount

from tests.asgi import serving

MOUNT = "/webhook-notify"
ROLES = ("viewer", "user", "op", "admin")
_SETTINGS = {
    # What Airflow's own API server sets; only then does it find Connections of the database.
    "_AIRFLOW_PROCESS_CONTEXT": "server",
    "AIRFLOW__API_AUTH__JWT_SECRET": "a-secret-of-the-tests-that-is-long-enough-for-every-algorithm-that-signs-tokens",
    "AIRFLOW__WEBHOOK_NOTIFY__ALLOWED_NETWORKS": "127.0.0.0/8",
    "AIRFLOW__WEBHOOK_NOTIFY__RELAY": "external",
}


@contextmanager
def metadata_database(url: str) -> Iterator[None]:
    """Let Airflow's metadata database be that one, with all its tables, in this process."""
    from airflow import settings
    from airflow.configuration import conf
    from airflow.utils.db import initdb

    def connect(to: str) -> None:
        os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] = to
        settings.dispose_orm()
        settings.configure_vars()  # type: ignore[no-untyped-call]
        settings.configure_orm()  # type: ignore[no-untyped-call]

    before = conf.get("database", "sql_alchemy_conn")
    connect(url)
    try:
        initdb()
        yield
    finally:
        connect(before)


@contextmanager
def api_server() -> Iterator[Api]:
    """Serve Airflow's API with the plugins that it finds, ours among them."""
    before = {name: os.environ.get(name) for name in _SETTINGS}
    os.environ.update(_SETTINGS)
    try:
        with warnings.catch_warnings():
            # What Airflow itself imports is not ours to mend.
            warnings.simplefilter("ignore")
            from airflow.api_fastapi.app import create_app, purge_cached_app

            app = create_app(apps="core")
        with serving(app) as url:
            yield Api(url, app)
        purge_cached_app()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


@dataclass
class Api:
    """What visitors ask.

    :param url: of the API server's root
    :param answers: method and path of each request, and its answer
    """

    url: str
    root: FastAPI
    answers: list[tuple[str, requests.Response]] = field(default_factory=list)

    @cached_property
    def app(self) -> FastAPI:
        """Our app."""
        (mount,) = (route for route in self.root.routes if isinstance(route, Mount) and route.path == MOUNT)
        assert isinstance(mount.app, FastAPI)
        return mount.app

    @cached_property
    def description(self) -> dict[str, Any]:
        """The OpenAPI description, as an administrator gets it."""
        answer = requests.get(f"{self.url}{MOUNT}/v1/openapi.json", headers=bearer("admin"), timeout=30)
        assert answer.status_code == 200, answer.text
        described: dict[str, Any] = answer.json()
        return described

    def ask(
        self, method: str, path: str, *, role: str | None = "op", headers: Mapping[str, str] | None = None, **more: Any
    ) -> requests.Response:
        """Send one request below `/webhook-notify`, as a program with a token does.

        :param role: None for nobody
        """
        sent = {**(bearer(role) if role else {}), **(headers or {})}
        answer = requests.request(method, f"{self.url}{MOUNT}{path}", headers=sent, timeout=30, **more)
        self.answers.append((f"{method} {path}", answer))
        self._check(method, path, answer)
        return answer

    def get(self, path: str, **more: Any) -> Any:
        """Return the JSON of what can be read."""
        return self._expect(200, self.ask("GET", path, **more))

    def post(self, path: str, json: object = None, *, status: int = 200, **more: Any) -> Any:
        """Return the JSON of what was done."""
        body: dict[str, Any] = {} if json is None else {"json": json}
        return self._expect(status, self.ask("POST", path, **body, **more))

    def _expect(self, status: int, answer: requests.Response) -> Any:
        assert answer.status_code == status, answer.text
        return answer.json()

    def _check(self, method: str, path: str, answer: requests.Response) -> None:
        route = self.route_of(method, path)
        if route is None or not route.include_in_schema or answer.status_code == 405:
            return
        responses = self.description["paths"][route.path_format][method.lower()]["responses"]
        described = responses[str(answer.status_code)]["content"]["application/json"]["schema"]
        root = {**described, "components": self.description["components"]}
        jsonschema.Draft202012Validator(root).validate(answer.json())

    def route_of(self, method: str, path: str) -> APIRoute | None:
        """Return the route that answers a request; None where none does."""
        prepared = requests.Request(method, f"{self.url}{path}").prepare().path_url
        scope = {"type": "http", "method": method, "path": unquote(prepared.partition("?")[0])}
        for route in self.app.routes:
            if isinstance(route, APIRoute) and route.matches(scope)[0] is Match.FULL:
                return route
        return None


def token_of(role: str, *, teams: list[str] | None = None) -> str:
    """Return a token of Airflow's own for a user with that role."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    user = SimpleAuthManagerUser(username=f"a-{role}", role=role.upper(), teams=teams)
    return str(get_auth_manager().generate_jwt(user))


def bearer(role: str, *, teams: list[str] | None = None) -> dict[str, str]:
    """Return the header of a program."""
    return {"Authorization": f"Bearer {token_of(role, teams=teams)}"}


def cookie(role: str) -> dict[str, str]:
    """Return the header of a browser that is signed in."""
    return {"Cookie": f"_token={token_of(role)}"}
