"""The payload's JSON Schema: valid itself, and neither too wide nor too narrow."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from airflow_webhook_notify.models import Delivery, Event, Webhook
from airflow_webhook_notify.payloads import build_payload, ping_event
from airflow_webhook_notify.schema import payload_schema
from airflow_webhook_notify.topics import FAILED

VALIDATOR = Draft202012Validator(payload_schema())
NOW = 1590591051225
FAILED_TASK: dict[str, Any] = {
    "Id": "0195c6a1-0000-7000-8000-000000000001",
    "JobId": "etl.load",
    "OrganizationId": "production",
    "State": "failed",
    "TriggerType": "schedule",
    "AttemptsCount": 2,
    "NextAttemptAt": None,
    "CreatedAt": 1590591046983,
    "UpdatedAt": 1590591051024,
    "Target": {"Type": "task", "Command": "python run_etl.py", "TimeToLive": 1800},
    "LastAttempt": {
        "Id": "0195c6a1-0000-7000-8000-000000000001",
        "State": "failed",
        "CreatedAt": 1590591046512,
        "ExitStatus": 7,
        "Message": "Process exited with status 7",
    },
    "Airflow": {
        "DagId": "etl",
        "RunId": "scheduled__2020-05-27T14:50:00+00:00",
        "TaskId": "load",
        "MapIndex": -1,
        "TryNumber": 2,
        "Operator": "BashOperator",
        "State": "failed",
        "LogicalDate": "2020-05-27T14:50:00+00:00",
        "LogUrl": "https://airflow.example.com/dags/etl/runs/x/tasks/load?try_number=2",
    },
    "Custom": {},
}

Change = Callable[[dict[str, Any]], object]


def payload_of(data: Mapping[str, Any], topic: str = FAILED) -> dict[str, Any]:
    event = Event("5f1b2c7e-2f6d-5a3c-9c07-2f0f2a1b9e44", topic, NOW, "production", "JobExecution", data)
    payload: dict[str, Any] = json.loads(build_payload(Delivery.of(event, "ops"), "attempt-1"))
    return payload


def ping() -> dict[str, Any]:
    webhook = Webhook(id="ops", endpoint="https://example.com/hooks/x?y=z", secrets=())
    event = ping_event(webhook, event_id="ping-1", organization_id="production", now=NOW)
    payload: dict[str, Any] = json.loads(build_payload(Delivery.of(event, "ops"), "attempt-1"))
    return payload


def as_dag(payload: dict[str, Any]) -> None:
    payload["Data"]["Target"].update(Type="dag", Command=None, TimeToLive=None)
    payload["Data"]["Airflow"].update(TaskId=None, MapIndex=-1, TryNumber=0, Operator=None)


def as_topic(topic: str, state: str) -> Change:
    def change(payload: dict[str, Any]) -> None:
        payload["Topic"] = payload["Metadata"]["Event"]["Topic"] = topic
        payload["Data"]["State"] = state

    return change


def updated(*path: str, **values: object) -> Change:
    def change(payload: dict[str, Any]) -> None:
        for key in path:
            payload = payload[key]
        payload.update(values)

    return change


def without(*path: str) -> Change:
    def change(payload: dict[str, Any]) -> None:
        for key in path[:-1]:
            payload = payload[key]
        del payload[path[-1]]

    return change


def problems(payload: dict[str, Any]) -> list[str]:
    return [error.json_path for error in VALIDATOR.iter_errors(payload)]


def test_the_schema_is_itself_valid() -> None:
    Draft202012Validator.check_schema(payload_schema())


def test_a_failed_task_and_a_ping_are_valid() -> None:
    assert problems(payload_of(FAILED_TASK)) == []
    assert problems(ping()) == []


@pytest.mark.parametrize(
    "change",
    [
        as_dag,
        as_topic("job.execution.started", "running"),
        as_topic("job.execution.succeeded", "succeeded"),
        as_topic("job.execution.overdue", "running"),
        updated("Data", NextAttemptAt=NOW, WillRetry=True),
        updated("Data", TriggerType="asset_triggered"),
        updated("Data", Truncated=True, Custom={"any": [{"thing": None}]}),
        updated("Data", "Target", Command=None, TimeToLive=0.5),
        updated("Data", "LastAttempt", ExitStatus=None, Message=None),
        updated("Data", "LastAttempt", ExitStatus=-9),
        updated("Data", "Airflow", LogUrl=None, LogicalDate=None, MapIndex=3, State="up_for_retry"),
        updated("Data", "Airflow", LogicalDate="2020-05-27T14:50:00.123456Z"),
    ],
)
def test_what_else_may_be_sent_is_valid(change: Change) -> None:
    payload = payload_of(copy.deepcopy(FAILED_TASK))
    change(payload)
    assert problems(payload) == []


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (updated(Toppic="x"), "$"),
        (updated(Topic="job.execution.finished"), "$.Topic"),
        (updated(Resource="webhook"), "$.Resource"),
        (updated(PreviousData={}), "$.PreviousData"),
        (updated(CreatedAt="2020-05-27T14:50:51Z"), "$.CreatedAt"),
        (updated(CreatedAt=1590591051.225), "$.CreatedAt"),
        (updated("Data", Jobid="x"), "$.Data"),
        (updated("Data", State="success"), "$.Data.State"),
        (as_topic("job.execution.started", "failed"), "$.Data.State"),
        (updated("Data", Truncated=False), "$.Data.Truncated"),
        (updated("Data", Custom=None), "$.Data.Custom"),
        (updated("Data", "Target", Type="webhook"), "$.Data.Target.Type"),
        (updated("Data", "Target", Cmd="x"), "$.Data.Target"),
        (updated("Data", "LastAttempt", ExitStatus="7"), "$.Data.LastAttempt.ExitStatus"),
        (updated("Data", "Airflow", Owner="x"), "$.Data.Airflow"),
        (updated("Data", "Airflow", LogicalDate="27 May"), "$.Data.Airflow.LogicalDate"),
        (updated("Data", "Airflow", TaskId=None), "$.Data.Airflow.TaskId"),
        (updated("Data", "Target", Type="dag"), "$.Data.Airflow.TaskId"),
        (updated("Metadata", Secret="x"), "$.Metadata"),
        (updated("Metadata", "Event", Topic="webhook.ping"), "$.Metadata.Event.Topic"),
        (without("Id"), "$"),
        (without("Data", "Custom"), "$.Data"),
        (without("Data", "Airflow", "LogUrl"), "$.Data.Airflow"),
        (without("Metadata", "Attempt"), "$.Metadata"),
    ],
)
def test_what_must_not_be_sent_is_invalid(change: Change, place: str) -> None:
    payload = payload_of(copy.deepcopy(FAILED_TASK))
    change(payload)
    assert place in problems(payload)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (updated("Data", Secret="whsec_x"), "$.Data"),
        (updated("Data", Url="example.com"), "$.Data.Url"),
        (updated("Data", Topics=["webhook.ping"]), "$.Data.Topics[0]"),
        (updated("Metadata", "Event", Topic=FAILED), "$.Metadata.Event.Topic"),
        (updated(Resource="JobExecution"), "$.Resource"),
        (without("Data", "Alias"), "$.Data"),
    ],
)
def test_a_ping_is_as_strict(change: Change, place: str) -> None:
    payload = ping()
    change(payload)
    assert place in problems(payload)


def test_every_key_is_described() -> None:
    undescribed: list[str] = []

    def look(schema: dict[str, Any], path: str) -> None:
        for key, value in schema.get("properties", {}).items():
            if "description" not in value:
                undescribed.append(f"{path}.{key}")
            look(value, f"{path}.{key}")

    schema = payload_schema()
    for root in (schema, *schema["$defs"].values()):
        look(root, "")
    assert undescribed == []
