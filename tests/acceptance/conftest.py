"""One real Airflow for all acceptance tests of a session.

Invariant: a failed test shows what Airflow's own processes wrote.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.acceptance.airflow_under_test import AirflowTestError, AirflowUnderTest, running
from tests.acceptance.webhooks import ORGANIZATION, Runs, make_webhooks, start_runs
from tests.servers import RecordingServer

DAGS = Path(__file__).parent / "dags"
#: Soon again, and for longer than any endpoint here is out of order.
PATIENT = ",".join(["2"] * 100)
_STARTED: list[AirflowUnderTest] = []


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowUnderTest]:
    """A running Airflow with a triggerer, on SQLite, that reads `tests/acceptance/dags`."""
    options = {"webhook_notify.organization_id": ORGANIZATION, "webhook_notify.retry_schedule": PATIENT}
    home = tmp_path_factory.mktemp("airflow")
    with running(AirflowUnderTest(home, DAGS, triggerer=True, options=options)) as started:
        _STARTED.append(started)
        yield started
        _STARTED.remove(started)


@pytest.fixture(scope="session")
def runs(airflow: AirflowUnderTest) -> Iterator[Runs]:
    """One run of each DAG in `tests/acceptance/dags`, all begun together, and what their webhooks received."""
    with RecordingServer() as receiver:
        make_webhooks(airflow, receiver)
        start_runs(airflow)
        yield Runs(airflow, receiver)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show Airflow's own words below those of a test that failed."""
    report = yield
    # Where Airflow kept a test waiting, the error has them already.
    if report.failed and AirflowTestError.__name__ not in report.longreprtext:
        for started in _STARTED:
            report.sections.append(("Airflow", started.tail()))
    return report
