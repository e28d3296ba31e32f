"""Times a callback inside the task's own process.

Invariant: it imports nothing that a task process has not loaded, and what it writes down is out of what it times.
"""

from __future__ import annotations

import importlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

#: The environment variable that the URL of an endpoint stands under.
ENDPOINT = "BENCH_ENDPOINT_{}"
#: What the endpoints are like.
KINDS = ("fast", "slow", "dead")


def load(module: str, name: str) -> tuple[Any, float]:
    """Import as a DAG file does at its top, and return what was imported and the seconds that it took."""
    started = time.perf_counter()
    found = getattr(importlib.import_module(module), name)
    return found, time.perf_counter() - started


def event_id(sender: str, context: Mapping[str, Any]) -> str:
    """Return what tells an event of a sender that has no ids of its own from any other."""
    return f"{sender}:{context['run_id']}"


def notes(home: Path) -> Path:
    """Return the folder of what was timed, one file per run."""
    return home / "timed"


class Timed:
    """A callback that times another.

    :param loading: seconds that the import of the other took
    """

    def __init__(self, callback: Callable[[Any], object], loading: float) -> None:
        self._callback = callback
        self._loading = loading

    def __call__(self, context: Any) -> None:
        """Call it and write down how long it took; before that, that it was called."""
        note = {"pid": os.getpid(), "began": time.time(), "loading": self._loading}
        path = notes(Path(os.environ["AIRFLOW_HOME"])) / f"{context['run_id']}.json"
        _write(path, note)
        started = time.perf_counter()
        try:
            self._callback(context)
        finally:
            _write(path, {**note, "callback": time.perf_counter() - started})


def _write(path: Path, note: Mapping[str, float]) -> None:
    half = path.with_suffix(".half")
    half.write_text(json.dumps(note))
    half.replace(path)
