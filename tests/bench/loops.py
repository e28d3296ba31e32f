"""Whether the scheduler's loop takes longer with this package than without it.

Invariant: real Airflows with the same DAG, options and database server, that differ in nothing but whether the
package is installed, each alone on the machine, in turns; every time is Airflow's own measurement of its loop.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine

from tests.acceptance.airflow_under_test import AirflowUnderTest
from tests.acceptance.webhooks import SECRET
from tests.bench.bare_venv import make_bare_venv
from tests.bench.endpoint import BenchEndpoint, endpoint
from tests.bench.figures import Figure
from tests.bench.scenes import Databases
from tests.bench.statsd import Timings, timings

DAGS = Path(__file__).parent / "scheduler_dags"
WITH, WITHOUT = "with the package", "without it"
ROUNDS, RUNS = 3, 15
#: Seconds from the start of one run to that of the next: it leaves the processors some rest.
EVERY = 2.0
METRIC = "scheduler.scheduler_loop_duration"
UNDER_WAY = text("SELECT count(*) FROM dag_run WHERE state IN ('queued', 'running')")


@dataclass
class Loops:
    """How long the scheduler's loops took in each round, in milliseconds.

    :param events: how many events an endpoint took meanwhile
    """

    rounds: list[list[float]] = field(default_factory=list)
    events: int = 0

    @property
    def all(self) -> list[float]:
        """Those of all rounds."""
        return [each for loops in self.rounds for each in loops]

    def at(self, percent: int) -> float:
        """Return a percentile of all."""
        return _percentile(self.all, percent)

    def each(self, percent: int) -> list[float]:
        """Return a percentile of each round."""
        return [_percentile(loops, percent) for loops in self.rounds]

    def spread(self, percent: int) -> float:
        """Return how much a percentile differs from round to round."""
        return max(self.each(percent)) - min(self.each(percent))


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def measure(bases: Databases) -> Mapping[str, Loops]:
    """Measure both, in turns."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        there, taken = stack.enter_context(endpoint()), stack.enter_context(timings())
        pythons = {WITH: sys.executable, WITHOUT: make_bare_venv(folder / "venv")}
        airflows = {}
        for name, python in pythons.items():
            airflows[name] = _airflow(folder / name.replace(" ", "_"), bases, taken.port, python)
        _subscribe(airflows[WITH], there)
        if "airflow-webhook-notify" in airflows[WITHOUT].cli("providers", "list").stdout:
            raise RuntimeError("the package is in the environment that is to be without it")
        found = {name: Loops() for name in pythons}
        for number in range(ROUNDS):
            for name, airflow in airflows.items():
                found[name].rounds.append(_round(airflow, taken, number))
        found[WITH].events = there.count
        return found


def _airflow(home: Path, bases: Databases, port: int, python: str) -> AirflowUnderTest:
    home.mkdir()
    options = {
        "metrics.statsd_on": "True",
        "metrics.statsd_host": "127.0.0.1",
        "metrics.statsd_port": str(port),
        "metrics.metrics_allow_list": METRIC,
        "scheduler.scheduler_heartbeat_sec": "5",
    }
    database = bases.server.create_database(home.name)
    airflow = AirflowUnderTest(home, DAGS, database=database, options=options, python=python)
    airflow.cli("db", "migrate")
    return airflow


def _subscribe(airflow: AirflowUnderTest, there: BenchEndpoint) -> None:
    extra = '{"allow_http": true, "dags": ["*"], "level": "both"}'
    fields = ("--conn-type", "webhook", "--conn-host", there.url, "--conn-password", SECRET, "--conn-extra", extra)
    airflow.cli("connections", "add", "ops", *fields)


def _round(airflow: AirflowUnderTest, taken: Timings, number: int) -> list[float]:
    airflow.start_components()
    engine = create_engine(airflow.database_url)
    try:
        # Reading the DAG is over when the first run can start.
        airflow.wait_for_run("layers", airflow.trigger("layers", run_id=f"first_{number}"))
        taken.take()
        start = time.monotonic()
        for place in range(RUNS):
            time.sleep(max(0.0, start + place * EVERY - time.monotonic()))
            airflow.trigger("layers", run_id=f"run_{number}_{place}")
        airflow.wait_until("the runs end", lambda: not _under_way(engine), timeout=300)
        return taken.take()
    finally:
        engine.dispose()
        airflow.stop()


def _under_way(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(UNDER_WAY).scalar_one())


def figures(found: Mapping[str, Loops]) -> Iterator[Figure]:
    """Return a line for the half of the loops, and one for all but the longest."""
    ours, bare = found[WITH], found[WITHOUT]
    for percent, name in ((50, "median"), (95, "p95")):
        here, there = ours.at(percent), bare.at(percent)
        noise = max(ours.spread(percent), bare.spread(percent))
        measured = (
            f"**{here - there:+.1f} ms**: {here:.1f} ms with the package, {there:.1f} ms without; rounds of one kind "
            f"differ by up to {noise:.1f} ms ({_listed(ours.each(percent))} with it; "
            f"{_listed(bare.each(percent))} without)"
        )
        counted = f"{len(ours.all):,} and {len(bare.all):,} loops, {ours.events:,} events delivered"
        title = f"The scheduler's loop, {name} ({counted})" if percent == 50 else f"The same, {name}"
        # Within a noise as large as what is measured anything would be.
        met = abs(here - there) <= noise <= there / 4
        yield Figure(title, measured, "within the noise, and that at most a quarter of it", met)


def _listed(times: list[float]) -> str:
    return ", ".join(f"{each:.0f}" for each in times)
