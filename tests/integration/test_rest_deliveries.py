"""Deliveries over REST."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from airflow_webhook_notify.models import Delivery, Event, derived_id
from airflow_webhook_notify.outbox.store import Outbox
from tests.integration.deliveries import attempt_all, enqueue, make_dead_letters, make_event, state_of
from tests.integration.rest import Api
from tests.webhooks import AUTHORIZATION

NOWHERE = "00000000-0000-5000-8000-000000000000"
T0 = 1_700_000_000_000
HOUR = 3_600_000
#: Every kind of text that others may bring: a tag, right to left, an emoji, half of one, a line feed, an escape.
HOSTILE = "<script>alert(1)</script>\u202egnirts\u202c 🔥 \ud83d \n\x1b[31m '\"&"


def ids_of(api: Api, query: str = "") -> list[str]:
    """Return the ids that a list has."""
    return [one["id"] for one in api.get(f"/v1/deliveries{query}")["deliveries"]]


def refusal(answer: requests.Response) -> tuple[int, str]:
    """Return status and text."""
    return answer.status_code, str(answer.json()["detail"])


def test_deliveries_are_listed_newest_first_a_page_at_a_time(api: Api) -> None:
    made = [enqueue(make_event(number), now=T0 + number) for number in range(5)][::-1]
    first = api.get("/v1/deliveries?limit=2")
    second = api.get(f"/v1/deliveries?limit=2&cursor={first['cursor']}")
    enqueue(make_event(9), now=T0 + 9)
    third = api.get(f"/v1/deliveries?limit=2&cursor={second['cursor']}")
    assert [one["id"] for page in (first, second, third) for one in page["deliveries"]] == made
    assert third["cursor"] is None


def test_a_delivery_in_a_list_is_as_the_command_tells_it(api: Api) -> None:
    airflow: dict[str, Any] = {"TaskId": "load", "MapIndex": 3, "TryNumber": 2}
    delivery_id = enqueue(make_event(**airflow), now=T0)
    attempt_all(T0, 500, error="answered 500")
    assert api.get("/v1/deliveries")["deliveries"] == [
        {
            "id": delivery_id,
            "webhook": "ops",
            "webhook_paused": False,
            "topic": "job.execution.failed",
            "event_id": make_event().id,
            "dag_id": "etl",
            "run_id": "run_1",
            "task_id": "load",
            "map_index": 3,
            "try_number": 2,
            "state": "pending",
            "event_at": "2023-11-14T22:13:20.123Z",
            "created_at": "2023-11-14T22:13:20.000Z",
            "due_at": api.get(f"/v1/deliveries/{delivery_id}")["due_at"],
            "delivered_at": None,
            "leased_until": None,
            "manual": False,
            "attempts_count": 1,
            "last_status": 500,
            "last_error": "answered 500",
        }
    ]


def test_every_filter_leaves_out_the_others(api: Api) -> None:
    base: dict[str, Any] = {"TaskId": "load", "MapIndex": 0, "TryNumber": 1}
    wanted = enqueue(make_event(1, **base), now=T0, webhook_id="ops")
    others: list[dict[str, Any]] = [
        {"DagId": "other"},
        {"RunId": "other"},
        {"TaskId": "other"},
        {"MapIndex": 1},
        {"TryNumber": 2},
    ]
    for number, other in enumerate(others):
        enqueue(make_event(10 + number, **{**base, **other}), now=T0)
    enqueue(make_event(20, topic="webhook.ping", **base), now=T0)
    enqueue(make_event(21, **base), now=T0, webhook_id="other")
    enqueue(make_event(22, **base), now=T0 - HOUR)
    enqueue(make_event(23, **base), now=T0 + HOUR)
    filters = {
        "webhook": "ops",
        "topic": "job.execution.failed",
        "dag": "etl",
        "run": "run_1",
        "task": "load",
        "map_index": "0",
        "try_number": "1",
        "since": "2023-11-14T22:13:20Z",
        "until": "2023-11-14T22:13:21Z",
        "state": "pending",
    }
    assert ids_of(api, "?" + "&".join(f"{name}={value}" for name, value in filters.items())) == [wanted]
    for left_out, count in {"webhook": 2, "topic": 2, "dag": 2, "run": 2, "task": 2, "map_index": 2}.items():
        asked = "&".join(f"{name}={value}" for name, value in filters.items() if name != left_out)
        assert len(ids_of(api, f"?{asked}")) == count, left_out
    assert ids_of(api, "?state=dead_letter") == []
    assert len(ids_of(api, "?dag=&since=&webhook=")) == 10


def test_a_delivery_is_shown_with_its_payload_and_attempts(api: Api) -> None:
    api.post("/v1/webhooks", {"id": "ops", "endpoint": "https://e.org", "authorization": AUTHORIZATION}, status=201)
    delivery_id = enqueue(make_event(), now=T0)
    one = api.get(f"/v1/deliveries/{delivery_id}")
    assert (one["attempts"], one["request_headers"], one["payload"]["Data"]["State"]) == ([], [], "failed")
    attempt_all(T0, 429, error="answered 429", response=f"slow down, {AUTHORIZATION}")
    attempt_all(T0 + 100_000, 200, response="ok")
    one = api.get(f"/v1/deliveries/{delivery_id}")
    assert [(each["number"], each["status"], each["error"], each["response"]) for each in one["attempts"]] == [
        (1, 429, "answered 429", "slow down, ***"),
        (2, 200, None, "ok"),
    ]
    assert one["payload"]["Metadata"]["Attempt"]["Id"] == one["attempts"][1]["id"]
    headers = {header["name"]: header["value"] for header in one["request_headers"]}
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (one["event_id"], str((T0 + 100_000) // 1000))
    assert (headers["Authorization"], headers["webhook-signature"]) == ("***", "v1,***")


def test_one_delivery_is_sent_again(api: Api) -> None:
    delivery_id = enqueue(make_event(), now=T0)
    attempt_all(T0, 200)
    assert api.post(f"/v1/deliveries/{delivery_id}/redeliver", status=202) == {"redelivered": 1, "unknown": []}
    one = api.get(f"/v1/deliveries/{delivery_id}")
    assert (one["state"], one["manual"], one["attempts_count"]) == ("pending", True, 1)


def test_several_are_sent_again_and_the_unknown_are_told(api: Api) -> None:
    made = make_dead_letters(3, now=T0)
    asked = [made[0], "nonsense", NOWHERE, made[1], made[0]]
    again = api.post("/v1/deliveries/redeliver", {"ids": asked}, status=202)
    assert again == {"redelivered": 2, "unknown": ["nonsense", NOWHERE]}
    assert [state_of(each).value for each in made] == ["pending", "pending", "dead_letter"]


def test_dead_letters_are_sent_again_by_what_they_are_about(api: Api) -> None:
    old = make_dead_letters(1, now=T0)
    (wanted,) = make_dead_letters(2, now=T0 + HOUR)[1:]
    body = {"dead_letters": True, "since": "2023-11-14T23:00:00Z", "webhook": "ops", "dag": "etl", "run": "run_1"}
    assert api.post("/v1/deliveries/redeliver", {**body, "topic": "webhook.ping"}, status=202)["redelivered"] == 0
    assert api.post("/v1/deliveries/redeliver", body, status=202) == {"redelivered": 1, "unknown": []}
    assert (state_of(old[0]).value, state_of(wanted).value) == ("dead_letter", "pending")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "give either ids, or dead_letters with since"),
        ({"ids": []}, "give either ids, or dead_letters with since"),
        ({"ids": [NOWHERE], "dead_letters": True}, "give either ids, or dead_letters with since"),
        ({"dead_letters": True}, "since: is missing"),
        ({"dead_letters": True, "since": "soon"}, "since: 'soon' is no moment"),
        ({"ids": [NOWHERE], "since": "1d"}, "since: chooses among dead_letters"),
        ({"ids": [NOWHERE] * 10_001}, "ids: List should have at most 10000 items"),
        ({"ids": [1]}, "ids.0: Input should be a valid string"),
        ({"all": True}, "all: is no field of this request"),
    ],
)
def test_what_is_to_be_sent_again_has_to_be_said(api: Api, body: dict[str, Any], says: str) -> None:
    (dead,) = make_dead_letters(1, now=T0)
    status, text = refusal(api.ask("POST", "/v1/deliveries/redeliver", json=body))
    assert (status, text.startswith(says)) == (422, True), text
    assert state_of(dead).value == "dead_letter"


@pytest.mark.parametrize(
    "query",
    [
        *("state=gone", "limit=0", "limit=1001", "limit=x", "limit=1e9", "map_index=99999999999", "map_index=-2"),
        *("try_number=-1", "try_number=" + "9" * 5000, "since=soon", "until=2026-13-01", "since=9999999d"),
        *("dag=a%00b", "run=" + "r" * 251, "webhook=a%00b", "task=%00", "topic=" + "t" * 300, "since=" + "1" * 5000),
        *("cursor=x", "cursor=1:", "cursor=1:a%00", "cursor=" + "9" * 5000 + ":x", "cursor=:" + "x" * 10000),
        *("cursor=-1:x", "cursor=%D9%A1:x", "cursor=1.5:x"),
    ],
)
def test_a_bad_question_is_told_apart_by_its_field(api: Api, query: str) -> None:
    status, text = refusal(api.ask("GET", f"/v1/deliveries?{query}"))
    assert status == 422
    assert text.startswith(f"{query.partition('=')[0]}: "), text
    assert len(text) < 400


@pytest.mark.parametrize(
    "delivery_id",
    [
        *(NOWHERE, "x", "a%00b", "%ED%A0%80", "%FF", "%E2%80%AE", "x" * 10_000, "9" * 400, "' OR 1=1 --", "%2E%2E"),
        *("..%2F..%2Fetc%2Fpasswd", "00000000-0000-5000-8000-00000000000G", NOWHERE.upper() + "A", "<script>"),
    ],
)
def test_there_is_no_delivery_of_a_strange_id(api: Api, delivery_id: str) -> None:
    for method, path in (("GET", ""), ("POST", "/redeliver")):
        answer = api.ask(method, f"/v1/deliveries/{delivery_id}{path}")
        assert answer.status_code == 404, answer.text
        assert len(answer.text) < 300


def test_what_others_wrote_comes_as_they_wrote_it(api: Api) -> None:
    data: dict[str, Any] = {"Id": "x", "Airflow": {"DagId": HOSTILE, "RunId": HOSTILE, "TaskId": HOSTILE}}
    event = Event(derived_id("hostile"), "job.execution.failed", T0, HOSTILE[:30].replace("\ud83d", ""), "x", data)
    delivery_id = Outbox().enqueue(Delivery.of(event, "ops"), now=T0).delivery_id
    attempt_all(T0, 500, error=HOSTILE, response=HOSTILE + "x" * 4000)
    mended = HOSTILE.replace("\ud83d", "?")
    one = api.get(f"/v1/deliveries/{delivery_id}")
    assert (one["dag_id"], one["run_id"], one["task_id"], one["last_error"]) == (mended,) * 4
    assert one["payload"]["Data"]["Airflow"]["DagId"] == mended
    assert one["attempts"][0]["response"] == mended + "x" * 4000
    assert [each["dag_id"] for each in api.get("/v1/deliveries")["deliveries"]] == [mended]
    by_dag = requests.Request("GET", "http://x/v1/deliveries", params={"dag": mended}).prepare().path_url
    assert [each["id"] for each in api.get(by_dag)["deliveries"]] == [delivery_id]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 422),
        (b"", 422),
        (b"[]", 422),
        (b"null", 422),
        (b'"\\ud800"', 422),
        (b'{"id": "\\ud800", "endpoint": "https://e.org/\\ud800"}', 422),
        (b'{"\\ud800": 1, "id": "x", "endpoint": "https://e.org"}', 422),
        (b'{"id": "x", "endpoint": "https://e.org", "dags": ["\\ud800"]}', 422),
        (b'{"id": "x", "endpoint": "https://e.org", "timeout": NaN}', 422),
        (b'{"id": "x", "endpoint": "https://e.org", "timeout": 1e999}', 422),
        (b'{"id": "x", "endpoint": "https://e.org", "rate": ' + b"9" * 5000 + b"}", 400),
        (b'{"id": "x", "endpoint": "https://e.org", "nickname": "' + b"n" * 10_000 + b'"}', 422),
        (b'{"id": "' + b"x" * 10_000 + b'", "endpoint": "https://e.org"}', 422),
        (b'{"id": "x\\u0000", "endpoint": "https://e.org"}', 422),
        (b'{"id": "x", "endpoint": "https://e.org\\u0000"}', 422),
        (b'{"id": "\\u202e", "endpoint": "https://e.org"}', 422),
        (b'{"id": "x", "endpoint": "https://[::1"}', 422),
        (b'{"id": "x", "endpoint": "https://e.org", "headers": {"a\\r\\nb": "c"}}', 422),
        (b"[" * 100_000, 400),
        (b"\xff\xfe\x00", 400),
        (b"1" * (1024 * 1024 + 1), 413),
    ],
)
def test_no_body_ends_in_a_500(api: Api, body: bytes, status: int) -> None:
    kind = {"Content-Type": "application/json"}
    answered, text = refusal(api.ask("POST", "/v1/webhooks", data=body, headers=kind))
    assert (answered, bool(text), len(text) < 1000) == (status, True, True), (answered, text[:300])
    assert api.get("/v1/webhooks")["webhooks"] == []


def test_a_body_without_a_length_has_a_limit_too(api: Api) -> None:
    def endless() -> Any:
        for _ in range(40):
            yield b'"' + b"x" * 64 * 1024

    kind = {"Content-Type": "application/json"}
    try:
        answer = api.ask("POST", "/v1/webhooks", data=endless(), headers=kind)
    except requests.ConnectionError:
        # The server hangs up on who goes on.
        return
    assert refusal(answer) == (413, "the body is over 1048576 bytes")


def test_text_that_came_by_another_way_is_shown(api: Api) -> None:
    from airflow.models.connection import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    whole = HOSTILE.replace("\ud83d", "").strip()
    extra: dict[str, Any] = {"dags": [whole], "tags": ["x" * 10_000], "topics": ["job.execution.failed"]}
    with create_session(scoped=False) as session:
        conn = Connection(conn_id="ops", conn_type="webhook", host="https://e.org", password="a long secret")
        conn.description, conn.extra = "\u202e<b>\n" + "n" * 1000, json.dumps(extra)
        session.add(conn)
    (one,) = api.get("/v1/webhooks")["webhooks"]
    assert (one["nickname"], one["tags"]) == ("\u202e<b>\n" + "n" * 1000, ["x" * 10_000])
    assert one["dags"] == [whole]
    assert api.ask("PATCH", "/v1/webhooks/ops", json={"tags": []}).json()["dags"] == [whole]
    with create_session(scoped=False) as session:
        conn = session.scalars(select(Connection)).one()
        conn.extra = json.dumps({"dags": [HOSTILE]})
    (one,) = api.get("/v1/webhooks")["webhooks"]
    assert one["state_reason"] == "DAGs: has half a character in it (a lone surrogate); write it anew"
