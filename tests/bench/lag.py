"""How long after its commit a change of state is an event in the outbox.

Invariant: from the return of the commit that changed Airflow's row to the return of the one that put the event into
the outbox, both read off the same clock; the watcher looks as often as it does by default.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from sqlalchemy.engine import Engine

from airflow_webhook_notify.outbox.watch import HandOver, Watch
from airflow_webhook_notify.watcher.looks import Terms
from airflow_webhook_notify.watcher.resident import Watcher
from tests.bench.airflow_tables import RUNS, change, fill, waiting
from tests.bench.figures import Figure
from tests.bench.scenes import DATABASES, PATIENCE, Databases, make_engine
from tests.bench.watcher import listing
from tests.integration.airflow_rows import make_tables


@dataclass(frozen=True)
class Stream:
    """Changes, one after the other.

    :param every: seconds from one to the next; no part of the watcher's second, so that they meet all of it
    """

    name: str
    count: int
    every: float


STREAMS = (Stream("a change now and then", 240, 0.2131), Stream("100 changes a second", 2000, 0.00997))


class _Watched(Watch):
    """Notes when events are in the outbox."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.taken: dict[str, float] = {}

    def hand_over(self, work: HandOver, *, token: str, now: int) -> None:
        super().hand_over(work, token=token, now=now)
        committed = time.time()
        for item in work.taken:
            self.taken[str(item.delivery.event.data["Id"])] = committed


def measure(bases: Databases) -> Iterator[tuple[str, list[float]]]:
    """Measure each stream on each database; return milliseconds."""
    for kind in DATABASES:
        engine = make_engine(bases.make(kind))
        make_tables(engine)
        fill(engine, "active", runs=RUNS, over=False)
        for stream in STREAMS:
            yield f"{stream.name}, {kind}", _lags(engine, stream)
        engine.dispose()


def _lags(engine: Engine, stream: Stream) -> list[float]:
    watch = _Watched(engine)
    committed: dict[str, float] = {}
    rows = waiting(engine, stream.count)
    watcher = Watcher(watch, terms=Terms(), listing=listing)
    watcher.turn()
    watcher.start()
    try:
        start = time.monotonic()
        for place, row in enumerate(rows):
            time.sleep(max(0.0, start + place * stream.every - time.monotonic()))
            with engine.begin() as connection:
                change(connection, [row], "running")
            committed[str(row)] = time.time()
        _wait(watch, committed)
    finally:
        watcher.stop()
    return [(watch.taken[row] - at) * 1000 for row, at in committed.items()]


def _wait(watch: _Watched, committed: Mapping[str, float]) -> None:
    # A watcher that begins hands over once more what lately happened; the outbox has it already.
    end = time.monotonic() + PATIENCE
    while missing := committed.keys() - watch.taken.keys():
        if time.monotonic() > end:
            raise TimeoutError(f"{len(missing)} of {len(committed)} changes did not become events")
        time.sleep(0.1)


def figure(name: str, lags: list[float]) -> Figure:
    """Return what was measured of one stream."""
    half = statistics.median(lags) / 1000
    most = sorted(lags)[len(lags) * 99 // 100] / 1000
    measured = f"**p50 {half:.2f} s, p99 {most:.2f} s** ({len(lags)} changes)"
    return Figure(
        f"State committed → event in the outbox, {name}", measured, "p50 ≤ 1 s, p99 ≤ 3 s", half <= 1 and most <= 3
    )
