"""How long one look of the watcher takes.

Invariant: every figure is of whole looks, with the events in the outbox; Airflow's tables are Airflow's own, with
their indexes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from sqlalchemy.engine import Engine

from airflow_webhook_notify.connection import ListedWebhook
from airflow_webhook_notify.models import Level, Webhook
from airflow_webhook_notify.outbox.watch import Watch
from airflow_webhook_notify.watcher.looks import Terms
from airflow_webhook_notify.watcher.resident import Watcher
from tests.bench.airflow_tables import RUNS, TASKS, change, fill, waiting
from tests.bench.figures import Figure
from tests.bench.scenes import DATABASES, Databases, make_engine
from tests.integration.airflow_rows import make_tables

CHANGED, OLD, ROUNDS = 500, 1_000_000, 15
STATES = ("running", "success", "failed")
#: It hears of everything that happens.
EVERY = Webhook(id="ops", endpoint="https://hooks.example.com", secrets=(), dags=("*",), level=Level.BOTH)


def listing() -> Sequence[ListedWebhook]:
    """Return the one webhook that there is."""
    return [ListedWebhook(EVERY.id, "database", EVERY, None, True)]


@dataclass
class Looking:
    """A database, a watcher that looks at it, and how long that took, in milliseconds."""

    engine: Engine
    watcher: Watcher
    idle: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    deliveries: int = 0

    @classmethod
    def at(cls, url: str, *, old: int = 0) -> Looking:
        """Return one that has seen all that is under way.

        :param old: how many task instances of runs that are over there are beside those
        """
        engine = make_engine(url)
        make_tables(engine)
        fill(engine, "active", runs=RUNS, over=False)
        if old:
            fill(engine, "old", runs=old // TASKS, over=True)
        watcher = Watcher(Watch(engine), terms=Terms(), listing=listing)
        watcher.turn()
        return cls(engine, watcher)

    def look(self) -> None:
        """Look while nothing has changed, and when something has."""
        self._turn(self.idle)
        rows = waiting(self.engine, CHANGED)
        with self.engine.begin() as connection:
            for place, state in enumerate(STATES):
                change(connection, rows[place :: len(STATES)], state, whole=True)
        self.deliveries = self._turn(self.busy)

    def _turn(self, times: list[float]) -> int:
        started = time.perf_counter()
        taken = self.watcher.turn()
        times.append((time.perf_counter() - started) * 1000)
        return taken

    def close(self) -> None:
        """End the connections."""
        self.engine.dispose()


def looks(bases: Databases) -> Iterator[Figure]:
    """Measure looks at a thousand runs under way, on PostgreSQL with and without old rows beside them."""
    for kind in DATABASES:
        with ExitStack() as stack:
            sizes = (0, OLD) if kind == "PostgreSQL" else (0,)
            made = [Looking.at(bases.make(kind), old=old) for old in sizes]
            for each in made:
                stack.callback(each.close)
            for _ in range(ROUNDS):
                for each in made:
                    each.look()
        yield from _figures(kind, *made)


def _figures(kind: str, alone: Looking, beside: Looking | None = None) -> Iterator[Figure]:
    wanted = kind == "PostgreSQL"
    took = statistics.median(alone.busy)
    name = f"A look at {RUNS:,} runs with {RUNS * TASKS:,} task instances, of which {CHANGED} changed, {kind}"
    measured = f"**{took:.0f} ms** (worst {max(alone.busy):.0f} ms; {alone.deliveries} events)"
    yield Figure(name, measured, "≤ 250 ms" if wanted else "", not wanted or took <= 250)
    idle = f"{statistics.median(alone.idle):.0f} ms"
    yield Figure(f"The same, when nothing has changed, {kind}", idle, "", met=True)
    if beside is not None:
        more = statistics.median(beside.busy)
        measured = f"**{more / took - 1:+.0%}** ({more:.0f} ms; {statistics.median(beside.idle):.0f} ms of nothing)"
        name = f"The same, beside {OLD:,} old task instances, {kind}"
        yield Figure(name, measured, "≤ +10 %", more <= 1.1 * took)
