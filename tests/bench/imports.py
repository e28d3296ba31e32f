"""What an import costs a DAG file, in a cold process.

Invariant: what every DAG file imports in any case is loaded before, and not counted.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Iterator

from tests.bench.figures import Figure

PROCESSES = 10
_CODE = """
import sys
from airflow.sdk import DAG, task
from tests.bench.timed import load
print("seconds", load(*sys.argv[1:])[1])
"""


def measure() -> Iterator[Figure]:
    """Measure our import, and that of what it is compared with."""
    name = "`from airflow_webhook_notify import WebhookNotifier` in a DAG file"
    yield _figure(name, "airflow_webhook_notify", "WebhookNotifier", most=10)
    name = "`from airflow.providers.http.notifications import HttpNotifier`"
    yield _figure(name, "airflow.providers.http.notifications", "HttpNotifier")
    yield _figure("`import requests`", "requests", "post")


def _figure(name: str, module: str, attribute: str, *, most: float | None = None) -> Figure:
    # The first one may have to compile, which an installer does otherwise.
    taken = [_milliseconds(module, attribute) for _ in range(PROCESSES + 1)][1:]
    median = statistics.median(taken)
    measured = f"**{median:.1f} ms** (median of {PROCESSES} cold processes; worst {max(taken):.1f} ms)"
    return Figure(name, measured, f"≤ {most:g} ms" if most else "", most is None or median <= most)


def _milliseconds(module: str, attribute: str) -> float:
    command = [sys.executable, "-c", _CODE, module, attribute]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    (seconds,) = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("seconds ")]
    return float(seconds) * 1000
