"""The `subscriptions` command, on a real metadata database."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from airflow.models.connection import Connection
from airflow.models.dag import DagModel, DagTag
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.session import create_session
from sqlalchemy import delete

from tests.integration.cli import Run, make_run


@pytest.fixture
def run(airflow_db: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """`airflow webhooks`, where there is a DAG and some webhooks."""
    webhooks: dict[str, dict[str, object]] = {
        "every": {"dags": ["*"], "level": "both", "retries": True},
        "tagged": {"tags": ["prod"], "topics": ["job.execution.failed"]},
        "excludes": {"dags": ["*", "!etl"]},
        "attached": {},
        "broken": {"dags": ["*"], "level": "run"},
    }
    with create_session(scoped=False) as session:
        session.merge(DagBundleModel(name="tests"))
        session.flush()
        dag = DagModel(dag_id="etl", bundle_name="tests", max_active_tasks=1)  # type: ignore[no-untyped-call]
        dag.has_task_concurrency_limits, dag.max_consecutive_failed_dag_runs = False, 0
        session.add(dag)
        session.flush()
        session.add(DagTag(name="prod", dag_id="etl"))
        session.add_all(_connection(name, extra) for name, extra in webhooks.items())
    yield make_run(capsys, monkeypatch)
    with create_session(scoped=False) as session:
        session.execute(delete(DagTag))
        session.execute(delete(DagModel))
        session.execute(delete(Connection).where(Connection.conn_type == "webhook"))


def _connection(name: str, extra: dict[str, object]) -> Connection:
    return Connection(
        conn_id=name,
        conn_type="webhook",
        host="https://hooks.example.com/path-that-nobody-sees",
        password="whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        extra=json.dumps(extra),
    )


def test_it_says_which_webhooks_hear_of_a_dag_and_why(run: Run) -> None:
    told = run("subscriptions", "etl", "--output", "json")
    assert told.code == 0
    assert {row["conn_id"]: (str(row["hears"]), row["of"], row["why"]) for row in told.rows} == {
        "every": ("True", "runs and tasks: started, succeeded, failed; retries too", "DAGs matches *"),
        "tagged": ("True", "runs: failed", "DAG tags matches prod (tag prod)"),
        "excludes": ("False", "", "excluded by DAGs !etl"),
        "attached": ("False", "", "it subscribes to nothing: DAGs and DAG tags are empty"),
        "broken": ("False", "", "Level: must be one of dag, task, both"),
    }


def test_a_dag_that_does_not_exist_is_judged_by_its_id(run: Run) -> None:
    told = run("subscriptions", "not_there")
    assert told.code == 0
    assert "There is no DAG 'not_there' (yet)" in told.out
    assert "path-that-nobody-sees" not in told.out + told.err
