"""The watcher on Airflow's own tables, on each database in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_webhook_notify.watcher.resident import Watcher
from tests.integration.airflow_rows import AirflowRows, make_tables
from tests.integration.outboxes import DATABASES, make_engine, make_url


@pytest.fixture(params=DATABASES)
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AirflowRows]:
    """Airflow's empty tables and ours."""
    engine = make_engine(make_url(request.param, request, tmp_path))
    make_tables(engine)
    yield AirflowRows(engine)
    engine.dispose()


@pytest.fixture
def watcher(rows: AirflowRows) -> Watcher:
    """A watcher that has looked once, so that all that comes is new."""
    watcher = rows.watcher()
    assert rows.look(watcher) == []
    return watcher


def test_a_run_and_its_task_are_told_of_step_by_step(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(state="queued", start=None)
    assert rows.look(watcher) == []
    rows.change_run(state="running", start_date=2)
    rows.task(state="scheduled", try_number=1)
    assert rows.look(watcher) == ["etl started (running)"]
    rows.runs_task(start=3)
    assert rows.look(watcher) == ["etl.load#1 started (running)"]
    rows.task(state="success", end_date=4)
    assert rows.look(watcher) == ["etl.load#1 succeeded (success)"]
    rows.change_run(state="success", end_date=5)
    assert rows.look(watcher) == ["etl succeeded (success)"]
    assert [rows.look(watcher, after=20) for _ in range(5)] == [[]] * 5


def test_what_starts_and_ends_between_two_looks_is_told_of_whole(rows: AirflowRows, watcher: Watcher) -> None:
    rows.run(state="success", start=1.1)
    rows.runs_task(start=1.2)
    rows.task(state="success", end_date=1.5)
    rows.change_run(end_date=1.6)
    assert rows.look(watcher) == [
        "etl started (running)",
        "etl.load#1 started (running)",
        "etl.load#1 succeeded (success)",
        "etl succeeded (success)",
    ]
