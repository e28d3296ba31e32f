"""A webhook that can't be had changes nothing in Airflow, and says so in one line for each event."""

from __future__ import annotations

import json

import pytest

from tests.acceptance.webhooks import RUN_ID, SECRET, SECRET_PATH, UNHEARD, Runs

#: Callbacks of the six that each DAG's tasks have, and of its run.
TASK_LINES, RUN_LINES = {"succeeds": 2, "fails": 4}, 1
REASONS = {
    "hangs": "no answer within",
    "closed": "refused the connection",
    "not_there": "does not exist",
    "garbled": "Endpoint URL",
}


@pytest.mark.parametrize("conn_id", UNHEARD)
def test_states_and_tries_are_those_of_a_dag_without_webhooks(runs: Runs, conn_id: str) -> None:
    dag_id = f"unheard_{conn_id}"
    assert runs.airflow.wait_for_run(dag_id, RUN_ID) == "failed"
    states = runs.airflow.task_states(dag_id, RUN_ID)
    assert [(state.task_id, state.state, state.try_number) for state in states] == [
        ("fails", "failed", 2),
        ("succeeds", "success", 1),
    ]


@pytest.mark.parametrize("conn_id", UNHEARD)
def test_each_callback_leaves_one_line_that_says_why(runs: Runs, conn_id: str) -> None:
    dag_id = f"unheard_{conn_id}"
    runs.airflow.wait_for_run(dag_id, RUN_ID)
    for task_id, count in TASK_LINES.items():
        lines = ours(runs.airflow.task_log(dag_id, RUN_ID, task_id), conn_id)
        assert len(lines) == count
        assert all(REASONS[conn_id] in line for line in lines), lines
    what = f"the run's own callback on {conn_id} is logged"
    runs.airflow.wait_until(what, lambda: ours(runs.airflow.dag_file_logs(), conn_id), timeout=60)
    lines = ours(runs.airflow.dag_file_logs(), conn_id)
    assert len(lines) == RUN_LINES
    assert REASONS[conn_id] in lines[0]


@pytest.mark.parametrize("conn_id", UNHEARD)
def test_no_log_shows_the_secret_or_the_path(runs: Runs, conn_id: str) -> None:
    runs.airflow.wait_for_run(f"unheard_{conn_id}", RUN_ID)
    logs = runs.airflow.all_logs()
    assert f"webhook {conn_id}: " in logs
    assert SECRET not in logs
    assert SECRET.removeprefix("whsec_") not in logs
    assert SECRET_PATH not in logs


def ours(log: str, conn_id: str) -> list[str]:
    """Return what we wrote about a webhook, of a log of JSON lines."""
    events = [json.loads(line).get("event", "") for line in log.splitlines() if line.startswith("{")]
    return [event for event in events if event.startswith(f"webhook {conn_id}: ")]
