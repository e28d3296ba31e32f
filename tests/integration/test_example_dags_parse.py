"""Airflow reads every example DAG without an error, and without a Connection or the network."""

from __future__ import annotations

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "example_dags"
DAG_IDS = {
    "deploy",
    "rollback",
    "webhook_for_deadline",
    "webhook_for_runs",
    "webhook_for_tasks",
    "webhook_with_data",
}


@pytest.mark.usefixtures("airflow_db")
# Airflow's own, when it reads an .airflowignore.
@pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")
def test_airflow_reads_the_examples_and_finds_their_dags() -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(EXAMPLES))
    assert bag.import_errors == {}
    assert set(bag.dags) == DAG_IDS


def test_the_receiver_beside_them_is_not_taken_for_a_dag_file() -> None:
    ignored = [line for line in (EXAMPLES / ".airflowignore").read_text().splitlines() if not line.startswith("#")]
    assert ignored == ["rollback_receiver.py"]
    assert (EXAMPLES / "rollback_receiver.py").is_file()
