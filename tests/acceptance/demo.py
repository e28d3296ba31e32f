"""`make demo`: a real Airflow tells a receiver what its jobs do, although the receiver is out of order at first, and
although a task is killed.

Invariant: exits 0 only if every expected event arrived, its signature verified; whatever happens, nothing that it
started keeps running and its folder is gone.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from tests.acceptance.airflow_under_test import AirflowTestError, AirflowUnderTest
from tests.acceptance.delivery_log import DeliveryLog, wait_until_subscribed
from tests.processes import Process, free_port

DAGS = Path(__file__).parent / "demo_dags"
DAG_FILE, KILLED_DAG_FILE = DAGS / "demo.py", DAGS / "nightly.py"
RUN_ID = "demo"
JOBS = (
    ("job.execution.started", "etl.extract"),
    ("job.execution.succeeded", "etl.extract"),
    ("job.execution.started", "etl.load"),
    ("job.execution.failed", "etl.load"),
    ("job.execution.failed", "etl"),
)
EXPECTED = (("webhook.ping", "demo"), *JOBS)
KILLED = ("job.execution.failed", "nightly.load")
#: Of the DAG that no callback is attached to.
SUBSCRIBED = (
    ("job.execution.started", "nightly"),
    ("job.execution.started", "nightly.load"),
    KILLED,
    ("job.execution.failed", "nightly"),
)
#: The one that is shown whole.
SHOWN = ("job.execution.failed", "etl.load")
#: So that nobody waits for longer than this many seconds.
RETRY_SCHEDULE = ",".join(["5"] * 20)
_BOLD, _GREEN, _RED, _PLAIN = ("\033[1m", "\033[32m", "\033[31m", "\033[0m") if sys.stdout.isatty() else ("",) * 4


def main() -> int:
    """Run the demo and return its exit status."""
    signal.signal(signal.SIGTERM, _interrupt)
    with tempfile.TemporaryDirectory(prefix="webhook-notify-demo-") as folder:
        options = {"webhook_notify.retry_schedule": RETRY_SCHEDULE}
        airflow = AirflowUnderTest(Path(folder), DAGS, options=options)
        try:
            return _show(airflow)
        except AirflowTestError as error:
            print(f"{_RED}{error}{_PLAIN}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 130
        finally:
            _say("Stopping everything that this started.")
            airflow.stop()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _show(airflow: AirflowUnderTest) -> int:
    _say("1. A real Airflow: a metadata database, the API server, the scheduler and the dag-processor.")
    _type("airflow db migrate && airflow api-server & airflow scheduler & airflow dag-processor &")
    airflow.start()
    print(f"   Airflow is up: {airflow.url}")

    failed = _show_attached(airflow) or _show_subscribed(airflow)
    if not failed:
        count = len(EXPECTED) + len(SUBSCRIBED)
        print(f"{_GREEN}All {count} expected events arrived, each with a signature that verified.{_PLAIN}")
    return failed


def _show_attached(airflow: AirflowUnderTest) -> int:
    """Show a webhook that is attached to a DAG, and a receiver that is out of order for a while."""
    port = free_port()
    _say("2. A webhook: an Airflow Connection with an endpoint and a signing secret, which is shown this once.")
    _run(airflow, "webhooks", "add", "demo", "--endpoint", f"http://127.0.0.1:{port}/hook", "--allow-http")

    _say("3. A receiver on this machine, which is out of order: it answers 500 to everything.")
    _listen(airflow, port, "--status", "500")

    _say(f"4. A DAG with the webhook attached ({DAG_FILE.relative_to(Path.cwd())}), and a run of it.")
    _print_dag(DAG_FILE)
    _run_dag(airflow, "etl")

    _say("5. Airflow did not wait for the receiver: each delivery is pending until its next attempt, here every 5 s.")
    _wait_for_deliveries(airflow)
    _run(airflow, "webhooks", "deliveries", "--state", "pending")

    _say("6. The receiver works again. It verifies what arrives with the webhook's signing secret. First, a ping.")
    airflow.stop_component("receiver of demo")
    receiver = _listen(airflow, port)
    _run(airflow, "webhooks", "ping", "demo")

    _say("7. The deliveries arrive with their next attempts.")
    received = _wait_for_all(airflow, receiver, EXPECTED)
    _run(airflow, "webhooks", "deliveries")

    _say("8. What the receiver got.")
    return judge(received)


def _show_subscribed(airflow: AirflowUnderTest) -> int:
    """Show a webhook that no DAG names, and a task that is killed."""
    port = free_port()
    _say("9. A webhook that subscribes: it hears of the DAGs that it names, with no change to any DAG file.")
    endpoint = f"http://127.0.0.1:{port}/hook"
    _run(
        airflow,
        "webhooks",
        "add",
        "watch",
        "--endpoint",
        endpoint,
        "--allow-http",
        "--dag",
        "night*",
        "--level",
        "both",
    )
    receiver = _listen(airflow, port, webhook="watch")
    wait_until_subscribed(airflow, "watch")

    _say(f"10. A DAG without any callback ({KILLED_DAG_FILE.relative_to(Path.cwd())}), whose task dies by SIGKILL.")
    _print_dag(KILLED_DAG_FILE)
    _run_dag(airflow, "nightly")

    _say("11. No process was left to call a callback. The watcher read in Airflow's database what had happened.")
    return judge_subscribed(_wait_for_all(airflow, receiver, SUBSCRIBED))


def _print_dag(path: Path) -> None:
    print("".join(f"   | {line}\n" for line in path.read_text().splitlines()[2:]))


def _run_dag(airflow: AirflowUnderTest, dag_id: str) -> None:
    _type(f"airflow dags trigger {dag_id}")
    airflow.trigger(dag_id, run_id=RUN_ID)
    state = airflow.wait_for_run(dag_id, RUN_ID)
    tasks = ", ".join(f"{task.task_id}: {task.state}" for task in airflow.task_states(dag_id, RUN_ID))
    print(f"   The run ended: {state} ({tasks})")


def _wait_for_deliveries(airflow: AirflowUnderTest) -> None:
    """Return once every event of the run is taken in and was tried: the run's own comes a moment after its end."""
    DeliveryLog(airflow, "demo", "etl", RUN_ID).wait_for(len(JOBS), state="pending", attempts=1)


def _listen(airflow: AirflowUnderTest, port: int, *options: str, webhook: str = "demo") -> Process:
    arguments = ["webhooks", "listen", "--port", str(port), "--webhook", webhook, *options]
    _type(f"airflow {' '.join(arguments)}")
    # JSON lines, so that each event is judged by its values and not by how it looks.
    command = [sys.executable, "-m", "airflow", *arguments, "--output", "json"]
    env = {**airflow.env, "PYTHONUNBUFFERED": "1"}
    log = airflow.home / ("-".join(["receiver", webhook, *options]) + ".log")
    receiver = Process.start("receiver", command, log=log, env=env)
    airflow.processes[f"receiver of {webhook}"] = receiver
    airflow.wait_until("the receiver listens", lambda: '"url"' in receiver.output(), timeout=60)
    return receiver


def _wait_for_all(
    airflow: AirflowUnderTest, receiver: Process, expected: Sequence[tuple[str, str]]
) -> list[dict[str, Any]]:
    """Return what arrived once all that is expected has, or time is up."""

    def arrived() -> bool:
        return set(expected) <= {_about(received) for received in _received(receiver)}

    try:
        airflow.wait_until("all events arrived", arrived, timeout=60)
    except AirflowTestError as error:
        print(f"{_RED}{error}{_PLAIN}", file=sys.stderr)
    return _received(receiver)


def _received(receiver: Process) -> list[dict[str, Any]]:
    lines = [line for line in receiver.output().splitlines() if line.startswith("{") and line.endswith("}")]
    return [received for received in map(json.loads, lines) if "payload" in received]


def _about(received: dict[str, Any]) -> tuple[str, str]:
    data = received["payload"]["Data"]
    return received["topic"], data.get("JobId", data["Id"])


def judge(everything: Sequence[dict[str, Any]]) -> int:
    """Show what arrived and return the exit status: 0 only where all that is expected is there and verified."""
    for received in everything:
        _print_line(received)
        print(f"   {json.dumps(received['payload'], ensure_ascii=False)}")
    for received in everything:
        if _about(received) == SHOWN:
            _print_whole(received)
    return _status(everything, EXPECTED)


def judge_subscribed(everything: Sequence[dict[str, Any]]) -> int:
    """Do the same for the webhook that subscribes; the killed task's event has to say that it was killed."""
    causes = []
    for received in everything:
        _print_line(received)
        if _about(received) == KILLED:
            data = received["payload"]["Data"]
            causes.append(data["Airflow"]["Cause"])
            print(f"      Data.Airflow.Cause:       {_BOLD}{causes[-1]}{_PLAIN}")
            print(f"      Data.LastAttempt.Message: {data['LastAttempt']['Message']}")
    if causes != ["killed"]:
        print(f"{_RED}The task's failure came {len(causes)} times, with {causes or 'no cause'}{_PLAIN}")
    return _status(everything, SUBSCRIBED) or int(causes != ["killed"])


def _status(everything: Sequence[dict[str, Any]], expected: Sequence[tuple[str, str]]) -> int:
    verified = {_about(received) for received in everything if received["verified"]}
    missing = [f"{topic} of {job}" for topic, job in expected if (topic, job) not in verified]
    unverified = [received["id"] for received in everything if not received["verified"]]
    if missing or unverified:
        print(f"{_RED}Missing: {missing or 'nothing'}; not verified: {unverified or 'nothing'}{_PLAIN}")
    return int(bool(missing or unverified))


def _print_line(received: dict[str, Any]) -> None:
    topic, job = _about(received)
    print(f"   {_BOLD}{topic:<24}{_PLAIN} {job:<12} {_verdict(received)}")


def _verdict(received: dict[str, Any]) -> str:
    if not received["verified"]:
        return f"{_RED}NOT VERIFIED{_PLAIN}"
    return f"{_GREEN}verified ({received['dialect']}){_PLAIN}"


def _print_whole(received: dict[str, Any]) -> None:
    print(f"\n   {_BOLD}One of them, to be read:{_PLAIN}")
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256"):
        print(f"   {name}: {received['headers'].get(name)}")
    text = json.dumps(received["payload"], indent=2, ensure_ascii=False)
    print("".join(f"   {line}\n" for line in text.splitlines()))


def _run(airflow: AirflowUnderTest, *arguments: str) -> None:
    """Run an `airflow` command as a person would and show what it says."""
    _type(f"airflow {shlex.join(arguments)}")
    done = airflow.cli(*arguments)
    print("".join(f"   {line}\n" for line in done.stdout.rstrip().splitlines()), end="")


def _say(text: str) -> None:
    print(f"\n{_BOLD}{text}{_PLAIN}", flush=True)


def _type(command: str) -> None:
    print(f"   $ {command}", flush=True)


if __name__ == "__main__":
    # Airflow's processes inherit this, and none of them should stop to ask.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    sys.exit(main())
