"""A real Airflow: its own home, database, ports and processes.

Invariant: it shares nothing with any other Airflow on the machine, and `stop` leaves nothing of it running.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import requests

from tests.processes import Process, free_port

T = TypeVar("T")

#: What the scheduler, the dag-processor and the API server are called by `/monitor/health`.
HEALTH_NAMES = {"scheduler": "scheduler", "dag-processor": "dag_processor", "triggerer": "triggerer"}
RUN_ENDED = ("success", "failed")
#: Seconds that a component gets to end by itself: triggerers never do, and schedulers only sometimes.
PATIENCE = {"api-server": 20.0, "triggerer": 1.0, "scheduler": 3.0}


class AirflowTestError(AssertionError):
    """Airflow did not do what a test waited for; the text ends with what its processes wrote."""


@dataclass(frozen=True)
class TaskState:
    """One task instance as the REST API shows it."""

    id: str
    task_id: str
    map_index: int
    state: str | None
    try_number: int
    start_date: str | None
    end_date: str | None


@dataclass
class AirflowUnderTest:
    """Starts a real Airflow, talks to it and stops it.

    :param home: an empty folder
    :param dags: the folder of its DAG files
    :param database: an SQLAlchemy URL; SQLite in `home` where None
    :param triggerer: whether it has one
    :param users: name → password; where empty, everyone is an administrator
    :param roles: name → role of the users that are no administrators
    :param options: `section.option` → value, over what is set here
    :param environment: more variables for its processes
    :param python: of the virtual environment that it runs in
    """

    home: Path
    dags: Path
    database: str | None = None
    triggerer: bool = False
    users: Mapping[str, str] = field(default_factory=dict)
    roles: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    python: str = sys.executable
    port: int = field(default_factory=free_port)
    processes: dict[str, Process] = field(default_factory=dict, init=False)
    _jwt_secret: str = field(default_factory=lambda: secrets.token_hex(32), init=False, repr=False)
    _token: str = field(default="", init=False, repr=False)

    # --- its life -----------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where the API server listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def database_url(self) -> str:
        """The SQLAlchemy URL of its metadata database."""
        return self.database or f"sqlite:///{self.home / 'airflow.db'}"

    def start(self, *, timeout: float = 120) -> AirflowUnderTest:
        """Make the database, start all components and return once each is healthy.

        :raises AirflowTestError: where one ends or is not healthy within `timeout` seconds
        """
        self._write_passwords()
        self.cli("db", "migrate")
        self.start_components(timeout=timeout)
        return self

    def start_components(self, *, timeout: float = 120) -> None:
        """Start all components and return once each is healthy.

        :raises AirflowTestError: where one ends or is not healthy within `timeout` seconds
        """
        try:
            for component in self.components:
                self.start_component(component)
            self.wait_until("all components are healthy", self._is_healthy, timeout=timeout)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all components, and what else runs with it."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(self.stop_component, list(self.processes)))

    @property
    def components(self) -> tuple[str, ...]:
        """The names of its components, as the `airflow` command has them."""
        return ("api-server", "scheduler", "dag-processor", *(["triggerer"] if self.triggerer else []))

    def start_component(self, component: str, *, options: Mapping[str, str] | None = None) -> Process:
        """Start one component.

        :param options: for it alone, over those of this Airflow
        """
        arguments = {
            "api-server": ["--port", str(self.port), "--host", "127.0.0.1", "--workers", "1"],
            # Test code reads task logs from disk; a log server would take a port that others want.
            "scheduler": ["--skip-serve-logs"],
            "triggerer": ["--skip-serve-logs"],
        }.get(component, [])
        command = [self.python, "-m", "airflow", component, *arguments]
        env = {**self.env, **_settings(options or {})}
        process = Process.start(component, command, log=self.home / f"{component}.log", env=env)
        self.processes[component] = process
        return process

    def stop_component(self, component: str) -> None:
        """End one component and all that it started."""
        self.processes.pop(component).stop(patience=PATIENCE.get(component, 5.0))

    def kill_component(self, component: str) -> None:
        """End one component and all that it started as `kill -9` does."""
        self.processes.pop(component).stop(how=signal.SIGKILL)

    def restart_api_server(self, *, options: Mapping[str, str] | None = None) -> None:
        """Start the API server, after ending it where it runs, and return once it answers.

        :param options: for it alone, over those of this Airflow
        """
        if "api-server" in self.processes:
            self.stop_component("api-server")
        self.start_component("api-server", options=options)
        self.wait_until("the API server answers", self._is_healthy, timeout=120)

    @property
    def env(self) -> dict[str, str]:
        """The environment of its processes: nothing of the caller's Airflow is in it."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW_")}
        path = os.pathsep.join([str(Path(self.python).parent), inherited.get("PATH", os.defpath)])
        return {
            **inherited,
            "AIRFLOW_HOME": str(self.home),
            "PATH": path,
            "NO_PROXY": "127.0.0.1",
            **_settings({**self._default_options(), **self.options}),
            **self.environment,
        }

    def _default_options(self) -> dict[str, str]:
        return {
            "core.executor": "LocalExecutor",
            "core.parallelism": "4",
            "core.dags_folder": str(self.dags),
            "core.load_examples": "False",
            "core.dags_are_paused_at_creation": "False",
            "core.fernet_key": "VZlXpDT8F9pUIgFnkMdcZP5vgEEZ2fXn1mwV1nnnr3o=",
            "core.execution_api_server_url": f"{self.url}/execution/",
            "core.simple_auth_manager_all_admins": str(not self.users),
            "core.simple_auth_manager_users": ",".join(
                f"{name}:{self.roles.get(name, 'admin')}" for name in self.users
            ),
            "core.simple_auth_manager_passwords_file": str(self.home / "passwords.json"),
            "core.min_serialized_dag_update_interval": "1",
            "api.base_url": self.url,
            "api.port": str(self.port),
            "api.secret_key": self._jwt_secret,
            "api_auth.jwt_secret": self._jwt_secret,
            "database.sql_alchemy_conn": self.database_url,
            # No DAG file changes while Airflow runs, and reading them all again and again keeps half a processor busy.
            "dag_processor.min_file_process_interval": "60",
            "dag_processor.parsing_processes": "1",
            "logging.base_log_folder": str(self.home / "logs"),
            "logging.colored_console_log": "False",
            "scheduler.scheduler_idle_sleep_time": "0.2",
            "scheduler.scheduler_heartbeat_sec": "1",
            "triggerer.job_heartbeat_sec": "1",
            "usage_data_collection.enabled": "False",
            # So much longer does a task that has ended take one of the places of `core.parallelism`, in seconds.
            "workers.min_heartbeat_interval": "1",
            "webhook_notify.allowed_networks": "127.0.0.0/8",
        }

    def _write_passwords(self) -> None:
        if self.users:
            (self.home / "passwords.json").write_text(json.dumps(dict(self.users)))

    def _is_healthy(self) -> bool:
        try:
            health = requests.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
        except requests.RequestException:
            return False
        names = [HEALTH_NAMES[name] for name in self.components if name in HEALTH_NAMES]
        return all(health[name]["status"] == "healthy" for name in ("metadatabase", *names))

    # --- what a person does with it -----------------------------------------------------------------------

    def cli(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `airflow` with these arguments.

        :raises AirflowTestError: where it exits non-zero and `check` is set
        """
        command = [self.python, "-m", "airflow", *arguments]
        done = subprocess.run(
            command, env=self.env, cwd=self.home, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if check and done.returncode:
            raise AirflowTestError(
                f"airflow {' '.join(arguments)} exited {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done

    def api(self, method: str, path: str, **arguments: Any) -> requests.Response:
        """Send one request to the REST API (`path` is below `/api/v2`) as an administrator.

        :raises requests.HTTPError: for an answer of 400 or above
        """
        self._token = self._token or self._log_in()
        headers = {"Authorization": f"Bearer {self._token}"}
        answer = requests.request(method, f"{self.url}/api/v2{path}", headers=headers, timeout=30, **arguments)
        answer.raise_for_status()
        return answer

    def _log_in(self) -> str:
        if self.users:
            name, password = next(iter(self.users.items()))
            login = {"username": name, "password": password}
            answer = requests.post(f"{self.url}/auth/token", json=login, timeout=30)
        else:
            answer = requests.get(f"{self.url}/auth/token", timeout=30)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def add_connection(self, conn_id: str, **fields: str) -> None:
        """Make a Connection as its page in the UI does: `conn_type`, `host`, `password`, `extra`."""
        self.api("POST", "/connections", json={"connection_id": conn_id, **fields})

    def trigger(
        self,
        dag_id: str,
        *,
        run_id: str,
        conf: Mapping[str, object] | None = None,
        logical_date: str | None = None,
    ) -> str:
        """Start a run of a DAG, once the dag-processor has read it; return the run's id."""
        self.wait_until(f"the DAG {dag_id} is read", lambda: self._has_dag(dag_id), timeout=60)
        run = {"dag_run_id": run_id, "logical_date": logical_date, "conf": dict(conf or {})}
        self.api("POST", f"/dags/{dag_id}/dagRuns", json=run)
        return run_id

    def _has_dag(self, dag_id: str) -> bool:
        try:
            return bool(self.api("GET", f"/dags/{dag_id}").ok)
        except requests.HTTPError:
            return False

    def wait_for_run(self, dag_id: str, run_id: str, *, timeout: float = 120) -> str:
        """Return the state that the run ends in.

        :raises AirflowTestError: where it has not ended within `timeout` seconds
        """

        def ended() -> str | None:
            state = self.run(dag_id, run_id)["state"]
            return state if state in RUN_ENDED else None

        return self.wait_until(f"the run {run_id} of {dag_id} ends", ended, timeout=timeout)

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """Return a run as the REST API shows it."""
        row: dict[str, Any] = self.api("GET", f"/dags/{dag_id}/dagRuns/{quote(run_id)}").json()
        return row

    def tries(self, dag_id: str, run_id: str, state: TaskState) -> list[dict[str, Any]]:
        """Return every try of a task instance as the REST API shows it."""
        instance = f"/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances/{state.task_id}"
        mapped = f"/{state.map_index}" if state.map_index >= 0 else ""
        rows: list[dict[str, Any]] = self.api("GET", f"{instance}{mapped}/tries").json()["task_instances"]
        return rows

    def task_states(self, dag_id: str, run_id: str) -> list[TaskState]:
        """Return the task instances of a run, by task and map index."""
        rows = self.api("GET", f"/dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances").json()["task_instances"]
        states = [TaskState(**{name: row[name] for name in TaskState.__annotations__}) for row in rows]
        return sorted(states, key=lambda state: (state.task_id, state.map_index))

    # --- what it wrote ------------------------------------------------------------------------------------

    def task_log(self, dag_id: str, run_id: str, task_id: str) -> str:
        """Return all that one task of a run wrote, every try and map index."""
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}" / f"task_id={task_id}"
        return "".join(path.read_text() for path in sorted(folder.rglob("*.log")))

    def execution_id(self, dag_id: str, run_id: str, task_id: str, *, map_index: int, try_number: int) -> str:
        """Return the id that a try of a task had while it ran, from its log: the REST API shows only the last."""
        for line in self.task_log(dag_id, run_id, task_id).splitlines():
            event = json.loads(line)
            if (event.get("map_index"), event.get("try_number")) == (map_index, try_number):
                return str(event["ti_id"])
        raise AirflowTestError(f"no log of try {try_number} of {task_id}[{map_index}]")

    def dag_file_logs(self) -> str:
        """Return all that the dag-processor wrote about DAG files: the callbacks of DAG runs are there."""
        return "".join(path.read_text() for path in sorted((self.home / "logs" / "dag_processor").rglob("*.log")))

    def all_logs(self) -> str:
        """Return all that Airflow wrote anywhere: tasks, DAG files' callbacks, components."""
        paths = [*sorted((self.home / "logs").rglob("*.log")), *sorted(self.home.glob("*.log"))]
        return "".join(path.read_text(errors="replace") for path in paths)

    def tail(self, *, lines: int = 25, width: int = 300) -> str:
        """Return the start of each of the last lines of each component."""
        parts = []
        for path in sorted(self.home.glob("*.log")):
            last = path.read_text(errors="replace").splitlines()[-lines:]
            parts += [f"--- {path.name}", *(line[:width] for line in last)]
        return "\n".join(parts)

    def wait_until(self, what: str, condition: Callable[[], T | None], *, timeout: float) -> T:
        """Return the condition's value as soon as it is true.

        :param what: what is waited for, in words
        :raises AirflowTestError: after `timeout` seconds, or where a component ends meanwhile
        """
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            value = condition()
            if value:
                return value
            for process in self.processes.values():
                if not process.running:
                    raise AirflowTestError(f"{process.name} ended before {what}\n{self.tail()}")
            time.sleep(0.1)
        raise AirflowTestError(f"not within {timeout:g} s: {what}\n{self.tail()}")


def _settings(options: Mapping[str, str]) -> dict[str, str]:
    return {
        "AIRFLOW__{}__{}".format(*(part.upper() for part in name.split(".", 1))): value
        for name, value in options.items()
    }


@contextlib.contextmanager
def running(airflow: AirflowUnderTest) -> Iterator[AirflowUnderTest]:
    """Start it for the length of a `with`."""
    try:
        yield airflow.start()
    finally:
        airflow.stop()
