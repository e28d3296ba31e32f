"""The form of Airflow's own connection page, as its API server hands it to the browser, and what saving it does."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from airflow_webhook_notify.connection_form import FIELDS
from tests.acceptance.airflow_under_test import AirflowUnderTest

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOPICS = {
    "job.execution.started": "started",
    "job.execution.succeeded": "succeeded",
    "job.execution.failed": "failed",
}


@pytest.fixture(scope="module")
def form(airflow: AirflowUnderTest) -> dict[str, Any]:
    """What the connection page knows of the type `webhook`."""
    token = requests.get(f"{airflow.url}/auth/token", timeout=30).json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    types = requests.get(f"{airflow.url}/ui/connections/hook_meta", headers=headers, timeout=30).json()
    (ours,) = (known for known in types if known["connection_type"] == "webhook")
    assert ours["hook_name"] == "Webhook"
    return dict(ours)


def test_the_standard_fields_have_our_labels_and_no_others_are_shown(form: dict[str, Any]) -> None:
    shown = {name: field["title"] for name, field in form["standard_fields"].items() if not field["hidden"]}
    assert shown == {"description": "Nickname", "host": "Endpoint URL", "password": "Signing secret"}


def test_the_extra_fields_have_our_labels_in_our_order(form: dict[str, Any]) -> None:
    titles = {key: field["schema"]["title"] for key, field in form["extra_fields"].items()}
    assert list(titles.items()) == [(field.key, field.label) for field in FIELDS]
    assert titles["authorization"] == "Authorization header"


def test_credentials_are_password_fields(form: dict[str, Any]) -> None:
    formats = {key: field["schema"].get("format") for key, field in form["extra_fields"].items()}
    assert [key for key, named in formats.items() if named == "password"] == ["authorization", "proxy"]


def test_topics_are_a_choice_of_the_three(form: dict[str, Any]) -> None:
    schema = form["extra_fields"]["topics"]["schema"]
    assert schema["type"] == ["array", "null"]
    assert schema["examples"] == list(TOPICS)
    assert schema["values_display"] == TOPICS


def test_a_form_saved_as_it_opens_is_a_webhook_with_the_defaults(
    airflow: AirflowUnderTest, form: dict[str, Any]
) -> None:
    fields = {"conn_type": "webhook", "host": "https://hooks.example.com/x", "password": SECRET}
    untouched = {key: field["value"] for key, field in form["extra_fields"].items()}
    airflow.add_connection("from_the_form", **fields, extra=json.dumps(untouched))
    (shown,) = json.loads(airflow.cli("webhooks", "show", "from_the_form", "--output", "json").stdout)
    wanted = {
        "endpoint": "https://hooks.example.com",
        "topics": list(TOPICS),
        "state": "ok",
        "authorization": "not set",
        "timeout": 15.0,
        "verify": True,
    }
    assert {name: shown[name] for name in wanted} == wanted


def test_a_webhook_whose_secret_rotates_can_be_edited_in_the_form(airflow: AirflowUnderTest) -> None:
    extra = {"authorization": "Bearer Au7h0r1zat10nT0ken", "headers": {"X-Team": "data"}}
    fields = {"conn_type": "webhook", "host": "https://hooks.example.com/x", "password": SECRET}
    airflow.add_connection("rotating", **fields, extra=json.dumps(extra))
    airflow.cli("webhooks", "rotate-secret", "rotating")
    before = _stored(airflow, "rotating")
    assert before["extra_dejson"]["previous_secrets"][0]["secret"] == SECRET
    shown = airflow.api("GET", "/connections/rotating").json()
    assert json.loads(shown["extra"])["previous_secrets"][0]["secret"] == "***"
    shown.pop("team_name", None)
    # The page sends the whole extra, with what it was not shown as ***, whatever was edited.
    mask = {"update_mask": ["extra", "description"]}
    airflow.api("PATCH", "/connections/rotating", params=mask, json={**shown, "description": "Edited"})
    after = _stored(airflow, "rotating")
    assert after["extra_dejson"] == before["extra_dejson"]
    assert (after["password"], after["description"]) == (before["password"], "Edited")


def _stored(airflow: AirflowUnderTest, conn_id: str) -> dict[str, Any]:
    """Return a Connection as it is stored, unmasked."""
    written = airflow.cli("connections", "get", conn_id, "--output", "json").stdout
    # Airflow 3.2 logs to standard output too.
    (row,) = json.loads(written.splitlines()[-1])
    return dict(row)
