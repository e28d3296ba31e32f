"""What one callback adds to a real task, whatever the endpoint does.

Invariant: every time is taken inside the task's own process, in a running Airflow; of what is compared, each has
runs of its own, in turns, in files of their own that import only what that one needs.
"""

from __future__ import annotations

import contextlib
import json
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.acceptance.airflow_under_test import AirflowUnderTest, running
from tests.acceptance.webhooks import add_webhook
from tests.bench.endpoint import BenchEndpoint, endpoint
from tests.bench.figures import Figure
from tests.bench.scenes import Databases
from tests.bench.timed import ENDPOINT, KINDS, notes

ROOT = Path(__file__).parents[2]
DAGS = Path(__file__).parent / "callback_dags"
OURS, PROVIDER, BARE, READ = "ours", "provider", "bare", "read"
NAMES = {OURS: "`WebhookNotifier`", PROVIDER: "`HttpNotifier`", BARE: "`requests.post`"}
KIND_NAMES = {"fast": "answers at once", "slow": "takes 5 s", "dead": "dead"}
#: Seconds that the slow endpoint takes.
SLOW = 5.0
#: Seconds after which what has not arrived is lost.
PATIENCE = 30.0
#: How many runs each has. Of those that wait for a slow endpoint all times are alike.
RUNS = {
    **{(sender, "fast"): 20 for sender in (*NAMES, READ)},
    **{(OURS, kind): 20 for kind in ("slow", "dead")},
    **{(sender, "slow"): 5 for sender in (PROVIDER, BARE)},
    **{(sender, "dead"): 3 for sender in (PROVIDER, BARE)},
}
OPTIONS = {
    "core.parallelism": "16",
    # Airflow's own: what tests set to be quick keeps the processors busy.
    "dag_processor.min_file_process_interval": "30",
    "dag_processor.refresh_interval": "300",
    "scheduler.scheduler_idle_sleep_time": "0.5",
    "scheduler.scheduler_heartbeat_sec": "5",
    # The dead endpoint comes back after minutes; without this, the waits would be hours by then.
    "webhook_notify.retry_schedule": ",".join(["5"] * 100),
}


@dataclass
class Taken:
    """What was measured of one sender and one kind of endpoint.

    :param callbacks: seconds that each callback took
    :param loading: seconds that the import in the DAG file took, in each task process
    :param killed: how many of the callbacks Airflow ended
    :param events: how many there were
    :param arrived: how many of them the endpoint has in the end
    """

    sender: str
    kind: str
    callbacks: list[float] = field(default_factory=list)
    loading: list[float] = field(default_factory=list)
    killed: int = 0
    events: int = 0
    arrived: int = 0

    @property
    def median(self) -> float:
        """Milliseconds."""
        return statistics.median(self._added) * 1000

    @property
    def worst(self) -> float:
        """Milliseconds."""
        return max(self._added) * 1000

    @property
    def lost(self) -> int:
        """How many events never arrived."""
        return self.events - self.arrived

    @property
    def _added(self) -> list[float]:
        return [sum(both) for both in zip(self.callbacks, self.loading, strict=True)]


@dataclass(frozen=True)
class Results:
    """What all of it came to.

    :param cold: milliseconds that the first callback took after the API server's start
    :param read: a callback that reads a Connection and sends nothing
    """

    database: str
    cold: float
    taken: Sequence[Taken]
    read: Taken


def measure(bases: Databases, kind: str) -> Results:
    """Measure all senders and endpoints in an Airflow of its own, on this kind of database."""
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = bases.server.create_database("callbacks") if kind == "PostgreSQL" else None
        fast, slow = stack.enter_context(endpoint()), stack.enter_context(endpoint(delay=SLOW))
        dead = stack.enter_context(_silence())
        port = dead.getsockname()[1]
        urls = {"fast": fast.url, "slow": slow.url, "dead": f"http://127.0.0.1:{port}/hook"}
        airflow = _airflow(home, database, urls)
        stack.enter_context(running(airflow))
        _connect(airflow, urls)
        scene = _Scene(airflow)
        results = Results(kind, scene.cold(), scene.measure(), scene.taken[READ, "fast"])
        dead.close()
        with endpoint(port=port) as recovered:
            _count_arrivals(results.taken, {"fast": fast, "slow": slow, "dead": recovered})
        return results


def _airflow(home: Path, database: str | None, urls: dict[str, str]) -> AirflowUnderTest:
    notes(home).mkdir()
    environment = {ENDPOINT.format(kind): url for kind, url in urls.items()}
    environment["PYTHONPATH"] = str(ROOT)
    # As installers leave a package: compiled.
    environment["PYTHONDONTWRITEBYTECODE"] = ""
    return AirflowUnderTest(home, DAGS, database=database, options=OPTIONS, environment=environment)


def _connect(airflow: AirflowUnderTest, urls: dict[str, str]) -> None:
    for kind, url in urls.items():
        add_webhook(airflow, kind, url, timeout=2 if kind == "dead" else 15)
        airflow.add_connection(f"http_{kind}", conn_type="http", host=url.removesuffix("/hook"))


@contextlib.contextmanager
def _silence() -> Iterator[socket.socket]:
    """Take connections and never answer."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", 0))
        listener.listen(1024)
        yield listener


@dataclass
class _Scene:
    airflow: AirflowUnderTest
    taken: dict[tuple[str, str], Taken] = field(default_factory=lambda: {case: Taken(*case) for case in RUNS})

    def cold(self) -> float:
        """Return the milliseconds that the first callback takes after the API server's start."""
        first = Taken(OURS, "fast")
        for case in RUNS:
            if case[1] == "fast":
                self._wait(first, self._start(case, "first"))
        return (first.callbacks[0] + first.loading[0]) * 1000

    def measure(self) -> list[Taken]:
        """Take all times."""
        most = max(RUNS.values())
        quick = [case for case, runs in RUNS.items() if runs == most]
        for number in range(most):
            for case in quick:
                self._wait(self.taken[case], self._start(case, str(number)))
        # The others only wait, so they may do that together, once they have begun.
        waiting = [(case, number) for case, runs in RUNS.items() if runs < most for number in range(runs)]
        begun = []
        for case, number in waiting:
            begun.append((case, self._start(case, str(number))))
            self._wait_for_call(begun[-1][1])
        for case, run_id in begun:
            self._wait(self.taken[case], run_id)
        return [taken for taken in self.taken.values() if taken.sender != READ]

    def _start(self, case: tuple[str, str], number: str) -> str:
        self.taken[case].events += 1
        dag_id = "_".join(case)
        return self.airflow.trigger(dag_id, run_id=f"{dag_id}_{number}")

    def _wait_for_call(self, run_id: str) -> Path:
        path = notes(self.airflow.home) / f"{run_id}.json"
        self.airflow.wait_until(f"the callback of {run_id} is called", path.exists, timeout=60)
        return path

    def _wait(self, taken: Taken, run_id: str) -> None:
        path = self._wait_for_call(run_id)
        pid = json.loads(path.read_text())["pid"]
        self.airflow.wait_until("its process ends", lambda: not psutil.pid_exists(pid), timeout=60)
        gone = time.time()
        note = json.loads(path.read_text())
        taken.callbacks.append(note.get("callback", gone - note["began"]))
        taken.loading.append(note["loading"])
        taken.killed += "callback" not in note


def _count_arrivals(everything: Sequence[Taken], endpoints: dict[str, BenchEndpoint]) -> None:
    arrived: dict[str, set[str]] = {kind: set() for kind in KINDS}
    end = time.monotonic() + PATIENCE
    while any(taken.lost for taken in everything) and time.monotonic() < end:
        time.sleep(0.5)
        for kind, there in endpoints.items():
            arrived[kind].update(event_id for event_id, _ in there.take())
        for taken in everything:
            taken.arrived = sum(_sender_of(event_id) == taken.sender for event_id in arrived[taken.kind])


def _sender_of(event_id: str) -> str:
    sender, colon, _ = event_id.partition(":")
    return sender if colon else OURS


def figures(results: Results) -> Iterator[Figure]:
    """Return a line for each kind of endpoint and sender."""
    for kind, shown in KIND_NAMES.items():
        for taken in (each for each in results.taken if each.kind == kind):
            name = f"Endpoint {shown}, {NAMES[taken.sender]}, {results.database}"
            ours = taken.sender == OURS
            wanted = "≤ 15 ms, none lost" if ours else ""
            yield Figure(name, _measured(taken), wanted, not ours or (taken.median <= 15 and not taken.lost))
    name = f"The first event after the API server's start, {NAMES[OURS]}, {results.database}"
    yield Figure(name, f"{results.cold:.1f} ms", "", met=True)
    name = f"A callback that only reads a Connection, {results.database}"
    yield Figure(name, f"{results.read.median:.1f} ms (worst {results.read.worst:.1f} ms)", "", met=True)


def _measured(taken: Taken) -> str:
    inside = statistics.median(taken.callbacks) * 1000
    killed = ", where Airflow ends the task's process" if taken.killed else ""
    return (
        f"**{taken.median:,.1f} ms** (worst {taken.worst:,.1f} ms{killed}; without the import {inside:,.1f} ms); "
        f"{taken.lost} of {taken.events} events lost"
    )
