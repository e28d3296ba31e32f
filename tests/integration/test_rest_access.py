"""Who may use the REST API: by Airflow's own authentication, and the rights of its auth manager."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from airflow.models.connection import Connection
from airflow.models.log import Log
from airflow.models.team import Team
from airflow.utils.session import create_session
from fastapi.routing import APIRoute
from sqlalchemy import delete, select
from starlette.routing import Mount

from airflow_webhook_notify.outbox.store import Outbox
from tests.integration.deliveries import enqueue, make_dead_letters, make_event, state_of
from tests.integration.rest import Api, bearer, cookie, token_of

ENDPOINT = "https://hooks.example.com/the/path"
INTAKE = "/v1/webhooks/{conn_id:path}/events"
T0 = 1_700_000_000_000


def make(api: Api, conn_id: str = "ops", **more: Any) -> None:
    """Make a webhook."""
    api.post("/v1/webhooks", {"id": conn_id, "endpoint": ENDPOINT, **more}, status=201)


def requests_of(api: Api) -> Iterator[tuple[str, str]]:
    """Return a request to each route that the app has, whoever added it; the intake has a guard of its own."""
    values = {"conn_id:path": "ops", "conn_id": "ops", "delivery_id": "00000000-0000-5000-8000-000000000000"}
    values |= {"version": "x", "name": "page.css"}
    for route in api.app.routes:
        if isinstance(route, Mount):
            yield "GET", f"{route.path}/anything"
            continue
        assert isinstance(route, APIRoute), f"{route} is no route that this test knows how to ask"
        if route.path == INTAKE:
            continue
        path = route.path
        for name, value in values.items():
            path = path.replace(f"{{{name}}}", value)
        assert "{" not in path, path
        for method in route.methods:
            yield method, path


def test_every_route_asks_who_it_is(api: Api) -> None:
    make(api)
    asked = list(requests_of(api))
    assert len(asked) >= 18
    for method, path in asked:
        body = {"json": {"id": "x", "endpoint": ENDPOINT}} if method in ("POST", "PATCH") else {}
        anonymous = api.ask(method, path, role=None, **body)
        assert (anonymous.status_code, anonymous.json()) == (401, {"detail": "Not authenticated"}), (method, path)
        for role in ("viewer", "user"):
            refused = api.ask(method, path, role=role, **body)
            assert (refused.status_code, refused.json()) == (403, {"detail": "Forbidden"}), (method, path, role)
    assert api.get("/v1/webhooks/ops")["state"] == "active"


def test_a_forged_token_is_none(api: Api) -> None:
    for path in ("/v1/webhooks", "/v1/openapi.json"):
        forged = api.ask("GET", path, role=None, headers={"Authorization": f"Bearer {token_of('admin')[:-4]}aaaa"})
        assert forged.status_code == 403
        assert api.ask("GET", path, role=None, headers={"Authorization": "Basic YTpi"}).status_code == 401


@pytest.mark.parametrize("role", ["op", "admin"])
def test_whoever_may_edit_connections_may_do_all(api: Api, role: str) -> None:
    made = api.post("/v1/webhooks", {"id": "ops", "endpoint": ENDPOINT}, status=201, role=role)
    assert made["webhook"]["endpoint"] == ENDPOINT
    assert [one["id"] for one in api.get("/v1/webhooks", role=role)["webhooks"]] == ["ops"]
    assert api.ask("DELETE", "/v1/webhooks/ops", role=role).status_code == 200


def test_a_browser_that_is_signed_in_may_ask_and_change_from_airflows_own_pages(api: Api) -> None:
    make(api)
    own = {**cookie("op"), "Sec-Fetch-Site": "same-origin"}
    assert api.get("/v1/webhooks/ops", role=None, headers=cookie("op"))["id"] == "ops"
    assert api.post("/v1/webhooks/ops/pause", role=None, headers=own)["state"] == "paused"
    older = {**cookie("op"), "Origin": api.url}
    assert api.post("/v1/webhooks/ops/resume", role=None, headers=older)["state"] == "active"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://other.example.com"},
        {"Origin": "https://evil.example.com"},
        {"Origin": "null"},
        {"Origin": "https://["},
    ],
)
def test_a_page_of_another_site_changes_nothing(api: Api, headers: dict[str, str]) -> None:
    make(api)
    for sent in (cookie("op"), {**cookie("op"), **bearer("op")} if headers else cookie("op")):
        refused = api.ask("POST", "/v1/webhooks/ops/pause", role=None, headers={**sent, **headers})
        assert refused.status_code == 403
        assert refused.json()["detail"].startswith("Forbidden: ")
    assert api.get("/v1/webhooks/ops")["state"] == "active"


def test_a_site_that_airflow_trusts_is_heard(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    make(api)
    monkeypatch.setenv("AIRFLOW__API__ACCESS_CONTROL_ALLOW_ORIGINS", "https://portal.example.com")
    headers = {"Origin": "https://portal.example.com", "Sec-Fetch-Site": "cross-site"}
    assert api.post("/v1/webhooks/ops/pause", headers=headers)["state"] == "paused"


def test_a_proxy_may_call_airflow_by_another_name(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    make(api)
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/team")
    headers = {**cookie("op"), "Origin": "https://airflow.example.com"}
    assert api.post("/v1/webhooks/ops/pause", role=None, headers=headers)["state"] == "paused"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_a_body_that_a_form_can_send_is_refused(api: Api, kind: str) -> None:
    make(api)
    sent: dict[str, Any] = {"data": b'{"reason": "x"}', "headers": {"Content-Type": kind}}
    refused = api.ask("POST", "/v1/webhooks/ops/pause", **sent)
    assert (refused.status_code, refused.json()) == (415, {"detail": "the body must be application/json"})


def audit_log() -> list[tuple[str, str, str]]:
    """Return event, owner and extra of each entry."""
    with create_session(scoped=False) as session:
        rows = session.execute(select(Log.event, Log.owner, Log.extra).order_by(Log.id))
        return [(row.event, row.owner, row.extra) for row in rows]


def test_every_change_is_in_the_audit_log_without_what_is_secret(api: Api) -> None:
    make(api, authorization="Bearer 0therCr3dent1al", headers={"X-Key": "4p1K3y0fS0meLength"})
    (dead,) = make_dead_letters(1, now=T0)
    api.ask("PATCH", "/v1/webhooks/ops", json={"endpoint": f"{ENDPOINT}/T0pS3cr3t", "proxy": "http://u:pr0xy@p:1"})
    api.post("/v1/webhooks/ops/rotate-secret", {"overlap": 60})
    api.post("/v1/webhooks/ops/pause", {"reason": "maintenance"})
    api.post("/v1/webhooks/ops/resume")
    api.ask("PATCH", "/v1/webhooks/ops", json={"endpoint": "https://10.1.2.3/T0pS3cr3t", "proxy": None})
    api.post("/v1/webhooks/ops/ping")
    api.post(f"/v1/deliveries/{dead}/redeliver", status=202)
    api.post("/v1/deliveries/redeliver", {"ids": [dead]}, status=202)
    api.post("/v1/deliveries/redeliver", {"dead_letters": True, "since": "1d", "webhook": "ops"}, status=202)
    api.ask("DELETE", "/v1/webhooks/ops")
    entries = audit_log()
    assert [event for event, _, _ in entries] == [
        "webhooks_add",
        "webhooks_edit",
        "webhooks_rotate_secret",
        "webhooks_pause",
        "webhooks_resume",
        "webhooks_edit",
        "webhooks_ping",
        "webhooks_redeliver",
        "webhooks_redeliver",
        "webhooks_redeliver",
        "webhooks_delete",
    ]
    assert {owner for _, owner, _ in entries} == {"a-op"}
    assert entries[1][2] == '{"webhook": "ops", "fields": ["endpoint", "proxy"]}'
    assert entries[3][2] == '{"webhook": "ops", "reason": "maintenance"}'
    everything = "".join(extra for _, _, extra in entries)
    assert not [word for word in ("0therCr3d", "4p1K3y", "T0pS3", "pr0xy", "whsec_", "the/path") if word in everything]


def test_what_is_refused_is_not_in_the_audit_log(api: Api) -> None:
    api.ask("POST", "/v1/webhooks", role="user", json={"id": "ops", "endpoint": ENDPOINT})
    assert audit_log() == []


@pytest.fixture
def teams(api: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """Two teams, each with a webhook that has a dead letter, and a webhook of nobody's."""
    for conn_id in ("blue", "red", "shared"):
        make(api, conn_id)
        make_dead_letters(1, now=T0, webhook_id=conn_id)
    with create_session(scoped=False) as session:
        session.add_all([Team(name="blue-team"), Team(name="red-team")])
        session.flush()
        for conn in session.scalars(select(Connection).where(Connection.conn_id.in_(["blue", "red"]))):
            conn.team_name = f"{conn.conn_id}-team"
    monkeypatch.setenv("AIRFLOW__CORE__MULTI_TEAM", "True")
    yield api
    with create_session(scoped=False) as session:
        session.execute(delete(Connection))
        session.execute(delete(Team))


def test_each_team_sees_and_changes_its_own(teams: Api) -> None:
    blue: Any = {"role": None, "headers": bearer("op", teams=["blue-team"])}
    assert [one["id"] for one in teams.get("/v1/webhooks", **blue)["webhooks"]] == ["blue", "shared"]
    seen = teams.get("/v1/deliveries", **blue)["deliveries"]
    assert {one["webhook"] for one in seen} == {"blue", "shared"}
    dead = {one["webhook"]: one["id"] for one in teams.get("/v1/deliveries", role="admin")["deliveries"]}
    assert set(dead) == {"blue", "red", "shared"}
    for method, path, body in (
        ("GET", "/v1/webhooks/red", None),
        ("PATCH", "/v1/webhooks/red", {"nickname": "ours"}),
        ("DELETE", "/v1/webhooks/red", None),
        ("POST", "/v1/webhooks/red/ping", None),
        ("GET", "/v1/deliveries?webhook=red", None),
        ("GET", f"/v1/deliveries/{dead['red']}", None),
        ("POST", f"/v1/deliveries/{dead['red']}/redeliver", None),
        ("POST", "/v1/deliveries/redeliver", {"ids": [dead["blue"], dead["red"]]}),
        ("POST", "/v1/deliveries/redeliver", {"dead_letters": True, "since": "3650d", "webhook": "red"}),
    ):
        refused = teams.ask(method, path, json=body, **blue)
        assert (refused.status_code, refused.json()) == (403, {"detail": "Forbidden"}), (method, path)
    again = teams.post("/v1/deliveries/redeliver", {"dead_letters": True, "since": "3650d"}, status=202, **blue)
    assert again["redelivered"] == 2
    assert state_of(dead["red"]).value == "dead_letter"


def test_deliveries_of_a_deleted_webhook_are_read_by_whoever_may_read_connections(api: Api) -> None:
    make(api)
    delivery_id = enqueue(make_event(), now=T0)
    assert api.ask("DELETE", "/v1/webhooks/ops").json() == {"id": "ops", "cancelled": 1}
    assert [one["id"] for one in api.get("/v1/deliveries")["deliveries"]] == [delivery_id]
    assert api.get(f"/v1/deliveries/{delivery_id}")["state"] == "cancelled"
    assert Outbox().webhook_ids() == {"ops"}
