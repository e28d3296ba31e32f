"""The bytes of the wire, by value.

Invariant: every payload here is also checked against the JSON Schema that receivers get.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_webhook_notify import topics
from airflow_webhook_notify.exceptions import PayloadError
from airflow_webhook_notify.models import Delivery, Event, SigningSecret, Webhook, derived_id, event_id, origin_of
from airflow_webhook_notify.payloads import build_payload, event_from_json, event_to_json, ping_event, to_json
from airflow_webhook_notify.schema import payload_schema
from tests.webhooks import AUTHORIZATION, SECRET, assert_no_credentials, validate_payload

EVENT = Event("e-1", topics.FAILED, 1_590_591_051_225, "acme", "JobExecution", {"JobId": "etl.löad"})
IDENTITY: dict[str, Any] = {
    "organization_id": "acme",
    "dag_id": "etl",
    "run_id": "r",
    "clear_number": 0,
    "task_id": "load",
    "map_index": -1,
    "try_number": 1,
    "topic": topics.FAILED,
}


def test_a_payload_is_compact_utf_8_in_the_order_of_the_wire_format() -> None:
    body = build_payload(Delivery("d-1", "ops", EVENT), "a-1")
    assert body.decode() == (
        '{"Id":"e-1","Topic":"job.execution.failed","CreatedAt":1590591051225,"UpdatedAt":1590591051225,'
        '"Resource":"JobExecution","PreviousData":null,"OrganizationId":"acme","Data":{"JobId":"etl.löad"},'
        '"Metadata":{"Webhook":{"Id":"ops"},"Delivery":{"Id":"d-1"},"Attempt":{"Id":"a-1"},'
        '"Event":{"Id":"e-1","Topic":"job.execution.failed"}}}'
    )


def test_a_ping_has_the_whole_url_and_no_secret() -> None:
    webhook = Webhook(
        "ops", "https://hooks.example.com/x?y=z", (SigningSecret(SECRET),), AUTHORIZATION, nickname="On call"
    )
    event = ping_event(webhook, event_id="e-2", organization_id="acme", now=7)
    body = build_payload(Delivery.of(event, "ops"), "a-1")
    validate_payload(json.loads(body), payload_schema())
    assert json.loads(body)["Data"] == {
        "Id": "ops",
        "Alias": "On call",
        "Url": "https://hooks.example.com/x?y=z",
        "Topics": list(topics.JOB_TOPICS),
        "State": "active",
        "OrganizationId": "acme",
    }
    assert_no_credentials(body.decode())


def test_an_event_survives_the_way_to_the_outbox() -> None:
    assert event_from_json(event_to_json(EVENT)) == EVENT


def event_with(**changes: Any) -> bytes:
    return json.dumps({**json.loads(event_to_json(EVENT)), **changes}).encode()


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "the body is not JSON"),
        (b"\xff", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"[]", "the body is not a JSON object"),
        (b"{}", "Id: must be a text"),
        (event_with(Id=7), "Id: must be a text"),
        (event_with(CreatedAt="now"), "CreatedAt: must be an integer of milliseconds"),
        (event_with(CreatedAt=True), "CreatedAt: must be an integer of milliseconds"),
        (event_with(Data=[]), "Data: must be an object"),
        (event_with(Id="x" * 65), "Id: must have 1 to 64 characters"),
        (
            event_with(Topic="job.failed"),
            "Id: must have 1 to 64 characters; Topic: must be one of job.execution.started",
        ),
    ],
)
def test_what_is_no_event_is_refused_by_field(body: bytes, says: str) -> None:
    with pytest.raises(PayloadError) as caught:
        event_from_json(body)
    assert str(caught.value).startswith(says)


def test_what_json_has_no_form_for_is_refused() -> None:
    for value in (float("nan"), b"x", {1, 2}):
        with pytest.raises(PayloadError, match="the event can't be written as JSON"):
            to_json({"x": value})


def test_the_same_occurrence_has_the_same_id() -> None:
    assert event_id(**IDENTITY) == event_id(**IDENTITY) == "ead5e399-1fdf-57a9-b2e6-0135904cf647"


@pytest.mark.parametrize(
    "change",
    [
        {"organization_id": "other"},
        {"dag_id": "etl2"},
        {"run_id": "r2"},
        {"clear_number": 1},
        {"task_id": "load2"},
        {"task_id": None},
        {"map_index": 0},
        {"try_number": 2},
        {"topic": topics.STARTED},
        {"dag_id": "etlr", "run_id": ""},
    ],
)
def test_another_occurrence_has_another_id(change: dict[str, Any]) -> None:
    assert event_id(**{**IDENTITY, **change}) != event_id(**IDENTITY)


def test_no_two_lists_of_parts_have_one_id() -> None:
    assert len({derived_id("a", "bc"), derived_id("ab", "c"), derived_id("a", "b", "c"), derived_id("1:a", "bc")}) == 4


def test_a_delivery_is_one_for_each_webhook() -> None:
    assert Delivery.of(EVENT, "ops").id == Delivery.of(EVENT, "ops").id != Delivery.of(EVENT, "other").id


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://hooks.example.com/a?b=c#d", "https://hooks.example.com"),
        ("https://user:pass@hooks.example.com:8443/a", "https://hooks.example.com:8443"),
        ("http://[::1]:80/a", "http://[::1]:80"),
        ("https://hooks.example.com:port/a", "(not a URL)"),
        ("https://[bad/a", "(not a URL)"),
    ],
)
def test_the_origin_is_all_that_is_shown_of_a_url(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("state", "topic"),
    [
        ("running", topics.STARTED),
        ("success", topics.SUCCEEDED),
        ("skipped", topics.SUCCEEDED),
        ("failed", topics.FAILED),
        ("up_for_retry", topics.FAILED),
        ("upstream_failed", topics.FAILED),
        ("deferred", None),
        ("queued", None),
        ("removed", None),
    ],
)
def test_the_topic_of_each_state(state: str, topic: str | None) -> None:
    assert topics.topic_of(state) == topic
