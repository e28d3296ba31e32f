"""Webhooks over REST, with a real receiver."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import quote

import pytest
import requests
from airflow.models.connection import Connection
from airflow.utils.session import create_session
from fastapi.routing import APIRoute
from sqlalchemy import select, update

from airflow_webhook_notify.connection import get_webhook
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.signing import verify
from tests.integration.deliveries import attempt_all, claim, enqueue, hide_outbox, make_event, state_of
from tests.integration.rest import Api
from tests.servers import Answer, RecordingServer
from tests.webhooks import AUTHORIZATION, CREDENTIALS, PATH, QUERY, SECRET, define

ENDPOINT = f"https://hooks.example.com{PATH}?{QUERY}"
HEADER = "4p1K3y0fS0meLength"
PROXY_PASSWORD = "pr0xyPassw0rdInUse"
TOPICS = ["job.execution.started", "job.execution.succeeded", "job.execution.failed"]
T0 = 1_700_000_000_000


@pytest.fixture
def receiver() -> Iterator[RecordingServer]:
    with RecordingServer() as server:
        yield server


def make(api: Api, conn_id: str = "ops", endpoint: str = ENDPOINT, **more: Any) -> dict[str, Any]:
    """Make a webhook and return what is answered."""
    made: dict[str, Any] = api.post("/v1/webhooks", {"id": conn_id, "endpoint": endpoint, **more}, status=201)
    return made


def stored(conn_id: str) -> Connection:
    """Return the Connection as the database has it."""
    with create_session(scoped=False) as session:
        found: Connection | None = session.scalar(select(Connection).where(Connection.conn_id == conn_id))
        assert found is not None
        return found


def refusal(answer: requests.Response) -> tuple[int, str]:
    """Return status and text."""
    return answer.status_code, str(answer.json()["detail"])


# --- make -----------------------------------------------------------------------------------------------------


def test_a_webhook_is_made_and_its_secret_shown_once(api: Api) -> None:
    made = make(api, "team/ops")
    secret = made["secret"]
    assert secret == stored("team/ops").password
    assert stored("team/ops").is_encrypted
    quiet = {name: made["webhook"].pop(name) for name in ("hours", "last_delivery", "success_rate")}
    assert quiet == {"hours": [{"delivered": 0, "failed": 0}] * 24, "last_delivery": None, "success_rate": None}
    assert made["webhook"] == {
        "id": "team/ops",
        "nickname": "team/ops",
        "endpoint": ENDPOINT,
        "topics": TOPICS,
        "dags": [],
        "tags": [],
        "level": "dag",
        "retries": False,
        "roll_up": None,
        "rate": None,
        "heartbeat": None,
        "header_names": [],
        "authorization": "not set",
        "proxy": "not set",
        "timeout": 15.0,
        "connect_timeout": 5.0,
        "verify": True,
        "ca_bundle": None,
        "allow_http": False,
        "secrets": 1,
        "old_secret_until": None,
        "source": "database",
        "editable": True,
        "state": "active",
        "state_reason": None,
        "paused_at": None,
        "failing_since": None,
        "last_success_at": None,
        "waiting": 0,
        "dead_letters": 0,
        "outbox_problem": None,
    }
    shown = api.get("/v1/webhooks/team%2Fops")
    assert shown == api.get("/v1/webhooks/team/ops") == {**made["webhook"], **quiet}
    assert secret not in json.dumps(shown)


ALL_SETTINGS: dict[str, Any] = {
    "nickname": "On call <b>",
    "authorization": AUTHORIZATION,
    "topics": ["job.execution.failed"],
    "dags": ["etl_*", "!etl_test"],
    "tags": ["prod"],
    "level": "both",
    "retries": True,
    "roll_up": 30,
    "rate": 120,
    "heartbeat": 5,
    "headers": {"X-Api-Key": HEADER},
    "timeout": 7.5,
    "connect_timeout": 2,
    "verify": False,
    "ca_bundle": "/etc/ca.pem",
    "proxy": f"http://user:{PROXY_PASSWORD}@proxy.example.com:3128",
    "allow_http": True,
}


def test_every_setting_is_stored_and_shown_but_what_is_secret(api: Api) -> None:
    made = make(api, **ALL_SETTINGS, secret=SECRET)
    assert made["secret"] is None
    webhook = get_webhook("ops")
    assert (webhook.secrets_at(0), webhook.authorization, webhook.headers) == (
        (SECRET,),
        AUTHORIZATION,
        (("X-Api-Key", HEADER),),
    )
    shown = made["webhook"]
    hidden = {"headers", "authorization", "proxy"}
    assert {name: shown[name] for name in set(ALL_SETTINGS) - hidden} == {
        name: value for name, value in ALL_SETTINGS.items() if name not in hidden
    }
    assert (shown["header_names"], shown["authorization"], shown["proxy"]) == (["X-Api-Key"], "set", "set")


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [
        ({"id": "ops"}, 409, "Connection id: 'ops' is taken; choose another, or delete that one"),
        ({"id": "a b"}, 422, "Connection id: may have up to 250 letters"),
        ({"id": ""}, 422, "Connection id: may have up to 250 letters"),
        ({"id": "x" * 251}, 422, "Connection id: may have up to 250 letters"),
        ({"endpoint": "ftp://e.org"}, 422, "Endpoint URL: is not a URL that begins with https://"),
        ({"endpoint": "http://e.org"}, 422, "Endpoint URL: is plain http"),
        ({"endpoint": "https://e.org/" + "x" * 500}, 422, "Endpoint URL: is over 500 characters"),
        ({"topics": ["job.failed"]}, 422, "Topics: there is no topic 'job.failed'"),
        ({"level": "run"}, 422, "level: Input should be 'dag', 'task' or 'both'"),
        ({"timeout": 0}, 422, "Timeout: must be a number of seconds from 0.1 to 60"),
        ({"headers": {"Host": "x"}}, 422, "Extra headers: Host is set by this package itself; remove it"),
        ({"secret": "short"}, 422, "Signing secret: it has fewer than 8 characters"),
        ({"topic": "x"}, 422, "topic: is no field of this request"),
        ({"nickname": "n" * 251}, 422, "Nickname: must be a text of up to 250 characters"),
        ({"nickname": "a\0b"}, 422, "Nickname: must be a text of up to 250 characters"),
        ({"endpoint": None}, 422, "endpoint: Input should be a valid string"),
    ],
)
def test_what_can_not_be_made_is_refused_by_field(api: Api, given: dict[str, Any], status: int, says: str) -> None:
    make(api)
    refused = api.ask("POST", "/v1/webhooks", json={"id": "new", "endpoint": "https://e.org", **given})
    answered, text = refusal(refused)
    assert (answered, text.startswith(says)) == (status, True), text
    assert [one["id"] for one in api.get("/v1/webhooks")["webhooks"]] == ["ops"]


def test_of_many_that_make_the_same_at_once_one_does(api: Api) -> None:
    body = {"id": "ops", "endpoint": ENDPOINT}
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: api.ask("POST", "/v1/webhooks", json=body).status_code, range(6)))
    assert sorted(answers) == [201, 409, 409, 409, 409, 409]


# --- list -----------------------------------------------------------------------------------------------------


def test_webhooks_are_listed_by_id_a_page_at_a_time(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for conn_id in ("c", "a", "b"):
        make(api, conn_id)
    define(monkeypatch, "in_env", ENDPOINT)
    first = api.get("/v1/webhooks?limit=3")
    assert ([one["id"] for one in first["webhooks"]], first["cursor"]) == (["a", "b", "c"], "c")
    second = api.get(f"/v1/webhooks?limit=3&cursor={first['cursor']}")
    assert ([one["id"] for one in second["webhooks"]], second["cursor"]) == (["in_env"], None)


def test_a_webhook_that_can_not_be_used_is_listed_with_the_reason(api: Api) -> None:
    make(api)
    with create_session(scoped=False) as session:
        session.execute(update(Connection).values(host="nowhere"))
    (one,) = api.get("/v1/webhooks")["webhooks"]
    assert (one["state"], one["endpoint"], one["authorization"]) == ("unusable", None, None)
    assert one["state_reason"].startswith("Endpoint URL: is not a URL")
    assert refusal(api.ask("POST", "/v1/webhooks/ops/ping"))[0] == 422
    mended = api.ask("PATCH", "/v1/webhooks/ops", json={"endpoint": ENDPOINT})
    assert mended.json()["state"] == "active"


def test_what_went_through_and_what_waits_is_shown(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    make(api)
    now = 1_700_000_000_000
    monkeypatch.setattr("airflow_webhook_notify.api.desk.time.time_ns", lambda: now * 1_000_000)
    hour = 3_600_000
    for number, at in enumerate((now - 30 * hour, now - 23 * hour, now - 23 * hour, now - 1)):
        enqueue(make_event(number), now=at)
        attempt_all(at, 200)
    enqueue(make_event(8), now=now - 2 * hour - 1)
    attempt_all(now - 2 * hour, 500, error="answered 500")
    last = enqueue(make_event(9), now=now)
    one = api.get("/v1/webhooks/ops")
    assert (one["waiting"], one["dead_letters"], one["success_rate"]) == (2, 0, 0.75)
    busy = {number: hour for number, hour in enumerate(one["hours"]) if hour != {"delivered": 0, "failed": 0}}
    assert busy == {
        1: {"delivered": 2, "failed": 0},
        21: {"delivered": 0, "failed": 1},
        23: {"delivered": 1, "failed": 0},
    }
    assert (one["state"], one["failing_since"]) == ("failing", "2023-11-14T20:13:20.000Z")
    assert one["state_reason"] == "no attempt has succeeded since 2023-11-14 20:13:20 UTC"
    assert one["last_delivery"] == {"id": last, "state": "pending", "status": None, "at": "2023-11-14T22:13:20.000Z"}
    assert api.get("/v1/webhooks")["webhooks"] == [one]


# --- change ---------------------------------------------------------------------------------------------------


def change(api: Api, conn_id: str = "ops", **changes: Any) -> requests.Response:
    """Ask for changes."""
    return api.ask("PATCH", f"/v1/webhooks/{conn_id}", json=changes)


def test_what_is_not_named_stays(api: Api) -> None:
    make(api, **ALL_SETTINGS, secret=SECRET)
    with create_session(scoped=False) as session:
        conn = session.scalars(select(Connection)).one()
        conn.extra = json.dumps({**json.loads(conn.extra or ""), "another_tools": {"x": [1]}})
    before = json.loads(stored("ops").extra or "")
    assert change(api, nickname="Other", dags=["x"]).status_code == 200
    assert json.loads(stored("ops").extra or "") == {**before, "dags": ["x"]}
    assert (stored("ops").password, stored("ops").host, stored("ops").description) == (SECRET, ENDPOINT, "Other")


def test_nothing_named_is_removed(api: Api) -> None:
    make(api, **ALL_SETTINGS)
    cleared: dict[str, Any] = dict.fromkeys(
        ("authorization", "proxy", "dags", "rate", "verify", "nickname", "topics", "headers")
    )
    changed = change(api, **cleared).json()
    assert {name: changed[name] for name in (*cleared, "header_names") if name != "headers"} == {
        "authorization": "not set",
        "proxy": "not set",
        "dags": [],
        "rate": None,
        "verify": True,
        "nickname": "ops",
        "topics": TOPICS,
        "header_names": [],
    }
    assert change(api, tags=[], ca_bundle="").json()["ca_bundle"] is None


def test_headers_change_one_by_one(api: Api) -> None:
    make(api, headers={"X-Team": "data", "X-Api-Key": HEADER})
    assert change(api, headers={"x-team": None, "X-New": "1"}).json()["header_names"] == ["X-Api-Key", "X-New"]
    assert get_webhook("ops").headers == (("X-Api-Key", HEADER), ("X-New", "1"))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"endpoint": "http://e.org"}, "Endpoint URL: is plain http"),
        ({"endpoint": None}, "Endpoint URL: must be a text"),
        ({"timeout": 100}, "Timeout: must be a number of seconds from 0.1 to 60"),
        ({"headers": {"X": "a\r\nb"}}, "Extra headers, X: has a line break"),
        ({"secret": SECRET}, "secret: is no field of this request"),
        ({"id": "other"}, "id: is no field of this request"),
    ],
)
def test_a_change_that_can_not_be_used_changes_nothing(api: Api, changes: dict[str, Any], says: str) -> None:
    make(api)
    before = (stored("ops").host, stored("ops").extra)
    status, text = refusal(change(api, nickname="n", **changes))
    assert (status, text.startswith(says)) == (422, True), text
    assert (stored("ops").host, stored("ops").extra, stored("ops").description) == (*before, None)


def test_changes_at_the_same_time_are_all_made(api: Api) -> None:
    make(api)
    fields: list[dict[str, Any]] = [
        {"rate": 60},
        {"timeout": 3},
        {"dags": ["a"]},
        {"tags": ["b"]},
        {"heartbeat": 2},
        {"retries": True},
    ]
    with ThreadPoolExecutor(len(fields)) as pool:
        assert {answer.status_code for answer in pool.map(lambda each: change(api, **each), fields)} == {200}
    one = api.get("/v1/webhooks/ops")
    assert {name: one[name] for each in fields for name in each} == {k: v for each in fields for k, v in each.items()}


def test_what_is_kept_elsewhere_is_changed_there(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    make(api, "in_env")
    define(monkeypatch, "in_env", ENDPOINT)
    one = api.get("/v1/webhooks/in_env")
    assert (one["source"], one["editable"], one["nickname"]) == ("environment", False, "On call")
    there = (
        "Connection 'in_env': comes from the environment variable AIRFLOW_CONN_IN_ENV; change it there, "
        "and restart Airflow"
    )
    for answer in (
        change(api, "in_env", nickname="x"),
        api.ask("POST", "/v1/webhooks/in_env/rotate-secret"),
        api.ask("DELETE", "/v1/webhooks/in_env"),
    ):
        assert refusal(answer) == (409, there)


def test_there_is_nothing_to_do_with_a_webhook_that_there_is_not(api: Api) -> None:
    with create_session(scoped=False) as session:
        session.add(Connection(conn_id="web", conn_type="http", host="e.org"))
    for conn_id in ("nowhere", "web", "a%00b", "%E2%80%AE", "x" * 300, "team//ops/"):
        for method, path in (
            *(("GET", ""), ("PATCH", ""), ("DELETE", "")),
            *(("POST", f"/{name}") for name in ("ping", "pause", "resume", "rotate-secret")),
        ):
            body: dict[str, Any] = {"json": {}} if method == "PATCH" else {}
            status, text = refusal(api.ask(method, f"/v1/webhooks/{conn_id}{path}", **body))
            assert (status, text.startswith("Connection ")) == (404, True), (conn_id, method, path, text)
    assert stored("web").host == "e.org"


# --- rotate, ping, pause, delete ------------------------------------------------------------------------------


def test_both_secrets_sign_for_as_long_as_they_overlap(api: Api, receiver: RecordingServer) -> None:
    old = make(api, endpoint=receiver.url(), allow_http=True)["secret"]
    rotated = api.post("/v1/webhooks/ops/rotate-secret", {"overlap": 600})
    one = api.get("/v1/webhooks/ops")
    assert (one["secrets"], one["old_secret_until"]) == (2, rotated["old_secret_until"])
    assert api.post("/v1/webhooks/ops/ping")["status"] == 200
    (request,) = receiver.requests
    for secret in (old, rotated["secret"]):
        assert verify(request.body, request.headers, secret, require_timestamp=True).id
    assert api.post("/v1/webhooks/ops/rotate-secret", {"overlap": 0})["old_secret_until"] is None
    for overlap in (-1, 1e10, "soon"):
        assert refusal(api.ask("POST", "/v1/webhooks/ops/rotate-secret", json={"overlap": overlap}))[0] == 422


def test_a_ping_says_what_was_sent_and_what_came_back(api: Api, receiver: RecordingServer) -> None:
    receiver.answer_with(Answer(200, body=f"you sent {AUTHORIZATION} and {HEADER}".encode()))
    endpoint = receiver.url(f"{PATH}?{QUERY}")
    make(api, endpoint=endpoint, allow_http=True, authorization=AUTHORIZATION, headers={"X-Api-Key": HEADER})
    answer = api.post("/v1/webhooks/ops/ping")
    (request,) = receiver.requests
    assert (answer["status"], answer["error"], answer["advice"], answer["unlogged"]) == (200, None, None, None)
    assert answer["response"] == "you sent *** and ***"
    assert answer["event_id"] == request.header("webhook-id")
    payload = json.loads(request.body)
    assert answer["request"]["payload"] == {**payload, "Data": {**payload["Data"], "Url": receiver.url("")}}
    shown = {header["name"]: header["value"] for header in answer["request"]["headers"]}
    # All that was sent, but what a client adds of the connection.
    sent = dict(request.headers)
    assert {*shown} == {name for name in sent if name.lower() not in ("host", "connection", "accept")}
    masked = {name: value for name, value in shown.items() if value != sent[name]}
    assert masked == {
        "X-Api-Key": "***",
        "Authorization": "***",
        "X-Hub-Signature": "sha256=***",
        "X-Hub-Signature-256": "sha256=***",
        "webhook-signature": "v1,***",
    }
    logged = api.get(f"/v1/deliveries/{answer['delivery_id']}")
    assert (logged["topic"], logged["state"], logged["payload"]) == (
        "webhook.ping",
        "delivered",
        answer["request"]["payload"],
    )
    assert logged["request_headers"] == answer["request"]["headers"]


def test_a_ping_that_fails_says_what_to_do(api: Api, receiver: RecordingServer) -> None:
    receiver.answer_with(404)
    make(api, endpoint=receiver.url(), allow_http=True)
    answer = api.post("/v1/webhooks/ops/ping")
    assert (answer["status"], answer["advice"]) == (404, "check the path of the Endpoint URL")
    make(api, "away", endpoint="https://10.1.2.3/x")
    answer = api.post("/v1/webhooks/away/ping")
    assert answer["error"].startswith("refused: 10.1.2.3 is a private address")
    assert answer["advice"] == "`airflow webhooks doctor away` checks each step on the way"


def test_a_paused_webhooks_deliveries_wait(api: Api) -> None:
    make(api)
    assert api.post("/v1/webhooks/ops/pause")["state_reason"] == "by hand"
    again = api.post("/v1/webhooks/ops/pause", {"reason": "<script>\u202e"})
    assert (again["state"], again["state_reason"]) == ("paused", "by hand")
    delivery_id = enqueue(make_event(), now=T0)
    assert claim(T0) == ()
    assert api.get(f"/v1/deliveries/{delivery_id}")["webhook_paused"] is True
    resumed = api.post("/v1/webhooks/ops/resume")
    assert (resumed["state"], resumed["paused_at"], resumed["waiting"]) == ("active", None, 1)
    assert api.post("/v1/webhooks/ops/resume")["state"] == "active"
    assert refusal(api.ask("POST", "/v1/webhooks/ops/pause", json={"reason": ""}))[0] == 422


def test_what_waits_is_cancelled_with_its_webhook(api: Api) -> None:
    make(api)
    make(api, "other")
    waiting = [enqueue(make_event(number), now=T0) for number in range(3)]
    others = enqueue(make_event(), now=T0, webhook_id="other")
    held = claim(T0)
    api.post("/v1/webhooks/ops/pause")
    assert api.ask("DELETE", "/v1/webhooks/ops").json() == {"id": "ops", "cancelled": 3}
    assert {state_of(each).value for each in waiting} == {"cancelled"}
    assert state_of(others).value == "pending"
    assert held
    assert Outbox().webhook_states().get("ops") is None
    assert api.ask("GET", "/v1/webhooks/ops").status_code == 404
    # Whoever was cut off before the deliveries were cancelled can do it again.
    enqueue(make_event(7), now=T0)
    assert api.ask("DELETE", "/v1/webhooks/ops").json() == {"id": "ops", "cancelled": 1}
    assert api.ask("DELETE", "/v1/webhooks/ops").status_code == 404


# --- what goes wrong ------------------------------------------------------------------------------------------


def test_webhooks_are_shown_without_an_outbox(api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    make(api)
    hide_outbox(monkeypatch, tmp_path)
    listed = api.get("/v1/webhooks")
    assert "airflow db migrate" in listed["problem"]
    (one,) = listed["webhooks"]
    assert (one["id"], one["state"], one["outbox_problem"]) == ("ops", "active", listed["problem"])
    for method, path in (
        ("GET", "/v1/deliveries"),
        ("GET", "/v1/deliveries/00000000-0000-5000-8000-000000000000"),
        ("POST", "/v1/webhooks/ops/pause"),
    ):
        status, text = refusal(api.ask(method, path))
        assert (status, "airflow db migrate" in text, "\n" in text) == (503, True, False)
    assert api.ask("DELETE", "/v1/webhooks/ops").json() == {"id": "ops", "cancelled": 0}


def test_nothing_secret_is_in_any_answer_or_log(
    api: Api, receiver: RecordingServer, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answer_with(Answer(500, body=f"{AUTHORIZATION} {SECRET} {PATH} {HEADER}".encode()))
    endpoint = receiver.url(f"{PATH}?{QUERY}")
    hidden: dict[str, Any] = {"authorization": AUTHORIZATION, "headers": {"X-Api-Key": HEADER}, "secret": SECRET}
    make(api, endpoint=endpoint, allow_http=True, **hidden)
    delivery_id = enqueue(make_event(), now=T0)
    attempt_all(T0, 500, error="answered 500", response=f"{AUTHORIZATION} {SECRET} {PATH}?{QUERY} {HEADER}")
    change(api, headers={"X-Api-Key": HEADER}, authorization=AUTHORIZATION)
    change(api, authorization=f"{AUTHORIZATION}\r\n", endpoint=f"{endpoint}#", proxy=f"://{PROXY_PASSWORD}")
    api.ask("POST", "/v1/webhooks", json={"id": "x", "endpoint": {"url": endpoint}, "authorization": [AUTHORIZATION]})
    api.post("/v1/webhooks/ops/ping")
    api.post("/v1/webhooks/ops/pause")
    api.get(f"/v1/deliveries/{delivery_id}")
    api.get("/v1/deliveries")
    api.post(f"/v1/deliveries/{delivery_id}/redeliver", status=202)
    rotated = api.post("/v1/webhooks/ops/rotate-secret")["secret"]
    api.get("/v1/webhooks")
    api.ask("DELETE", "/v1/webhooks/ops")
    paths = {"T0pS3cr3tPath", "T0pS3cr3tQuery"}
    secrets = {*CREDENTIALS, HEADER, PROXY_PASSWORD, rotated} - paths
    captured = capfd.readouterr()
    logs = caplog.text + captured.out + captured.err
    assert not [word for word in {*secrets, *paths} if word in logs]
    for request, answer in api.answers:
        text = f"{answer.text} {dict(answer.headers)}"
        found = [word for word in secrets if word in text]
        assert not found or (found, request) == ([rotated], "POST /v1/webhooks/ops/rotate-secret")
        # Who may edit a webhook sees its endpoint, and nowhere else.
        if not request.startswith(("GET /v1/webhooks", "POST /v1/webhooks", "PATCH /v1/webhooks")):
            assert not [word for word in paths if word in text], request


def test_the_description_is_one_and_has_every_route(api: Api) -> None:
    described = api.description
    assert described["openapi"].startswith("3.1")
    assert described["servers"] == [{"url": "/webhook-notify"}]
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            assert operation.get("summary"), (method, path)
            assert operation.get("description"), (method, path)
            assert {"401", "503"} <= set(operation["responses"]), (method, path)
            intake = path.endswith("/events")
            assert bool(operation.get("security")) is not intake, (method, path)
    routes = {route.path_format for route in api.app.routes if isinstance(route, APIRoute)}
    assert {path for path in routes if path.startswith("/v1/")} == set(described["paths"])


@pytest.mark.parametrize("conn_id", ["team/ops", "a.b-c:d#e!(f)\\g"])
def test_an_id_may_have_whatever_airflow_allows(api: Api, conn_id: str) -> None:
    make(api, conn_id)
    path = f"/v1/webhooks/{quote(conn_id, safe='')}"
    assert api.get(path)["id"] == conn_id
    assert api.post(f"{path}/pause")["state"] == "paused"
    assert api.get(f"/v1/deliveries?webhook={quote(conn_id, safe='')}") == {"deliveries": [], "cursor": None}
    assert api.ask("DELETE", path).json() == {"id": conn_id, "cancelled": 0}
