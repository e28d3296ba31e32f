"""What Airflow makes of the installed package, and what the package costs every DAG file."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from airflow_webhook_notify.version import package_version
from tests.acceptance.airflow_under_test import AirflowUnderTest

#: Packages that cost a DAG file more than all of ours.
HEAVY = {"aiohttp", "fastapi", "flask", "requests", "sqlalchemy", "urllib3"}
NEW_MODULES = """
import json, sys
from airflow.sdk import DAG
before = set(sys.modules)
from airflow_webhook_notify import WebhookNotifier, dag_callbacks, task_callbacks
with DAG("imported", default_args=task_callbacks("ops", data={"a": "{{ ds }}"}), **dag_callbacks("ops")):
    WebhookNotifier("ops")
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def rows(airflow: AirflowUnderTest, *command: str) -> list[dict[str, str]]:
    """Return the table that an `airflow` command prints."""
    listed: list[dict[str, str]] = json.loads(airflow.cli(*command, "--output", "json").stdout)
    return listed


def test_providers_list_shows_the_package_and_its_version(airflow: AirflowUnderTest) -> None:
    ours = [row for row in rows(airflow, "providers", "list") if row["package_name"] == "airflow-webhook-notify"]
    assert [row["version"] for row in ours] == [package_version()]


def test_providers_hooks_shows_the_hook(airflow: AirflowUnderTest) -> None:
    ours = [row for row in rows(airflow, "providers", "hooks") if row["connection_type"] == "webhook"]
    assert [(row["class"], row["conn_id_attribute_name"], row["hook_name"]) for row in ours] == [
        ("airflow_webhook_notify.hooks.WebhookHook", "webhook_conn_id", "Webhook")
    ]


def test_providers_notifications_shows_the_notifier(airflow: AirflowUnderTest) -> None:
    names = [name for row in rows(airflow, "providers", "notifications") for name in row.values()]
    assert "airflow_webhook_notify.notifications.WebhookNotifier" in names


def test_no_component_complains_of_the_package(airflow: AirflowUnderTest) -> None:
    complaints = [
        line
        for line in airflow.all_logs().splitlines()
        if "airflow_webhook_notify" in line and ("[warning" in line or "Traceback" in line)
    ]
    assert complaints == []


def test_a_dag_file_loads_nothing_heavy_through_us() -> None:
    done = subprocess.run(
        [sys.executable, "-c", NEW_MODULES], capture_output=True, text=True, check=True, env=os.environ
    )
    new = json.loads(done.stdout.splitlines()[-1])
    assert "airflow_webhook_notify.notifications" in new
    assert {name.partition(".")[0] for name in new} & HEAVY == set()
