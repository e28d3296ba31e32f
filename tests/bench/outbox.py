"""How long the outbox takes, on SQLite and PostgreSQL: `python -m tests.bench.outbox [rows]`.

Invariant: every figure is of committed transactions on a table that holds `rows` delivered deliveries already.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import create_engine, event, text
from sqlalchemy.engine import Engine

from airflow_webhook_notify.models import Attempt, Delivery, DeliveryState, Event, derived_id
from airflow_webhook_notify.outbox.records import Claim, DeliveryFilter, Result
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.outbox.tables import metadata
from airflow_webhook_notify.retry import Disposition
from tests.postgres import PostgresServer, find_binaries

#: What a failed task's event takes, about.
DATA = {"Target": {"Command": "python etl.py " * 20}, "Airflow": {"DagId": "etl", "RunId": "r", "TaskId": "load"}}
WEBHOOKS = 20
LEASE = 60_000
FILL = text(
    """
    INSERT INTO webhook_notify_delivery (id, webhook_id, event_id, topic, event_at, organization_id, resource, data,
      state, is_manual, created_at, attempts_count, schedule_start, delivered_at, last_status, dag_id, run_id)
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
    SELECT 'old-' || i, 'webhook-' || (i % 20), 'old-' || i, 'job.execution.failed', i, 'org', 'JobExecution', :data,
      'delivered', :no, i, 1, 0, i, 200, 'dag-' || (i % 300), 'run-' || (i / 10) FROM n
    """
)


@dataclass
class Bench:
    """One database and the figures taken on it."""

    name: str
    engine: Engine
    figures: dict[str, str] = field(default_factory=dict)
    made: int = 0

    @property
    def outbox(self) -> Outbox:
        """The outbox under measurement."""
        return Outbox(self.engine)

    def take(self, name: str, call: Callable[[], object], *, times: int = 50) -> None:
        """Note the median and the 95th percentile of a call, in milliseconds."""
        durations = sorted(_timed(call) for _ in range(times))
        worst = durations[int(len(durations) * 0.95)]
        self.figures[name] = f"{statistics.median(durations):7.2f} ms  (p95 {worst:.2f})"

    def enqueue(self, count: int, *, webhooks: int, prefix: str = "webhook") -> None:
        """Enqueue deliveries, each in a transaction of its own."""
        for _ in range(count):
            self.made += 1
            delivery = make_delivery(self.made, f"{prefix}-{self.made % webhooks}")
            self.outbox.enqueue(delivery, now=now())

    def backlog(self, webhook_id: str, count: int) -> None:
        """Enqueue many deliveries of one webhook in one transaction."""
        with self.engine.begin() as connection:
            first, self.made = self.made, self.made + count
            made = [make_delivery(first + number, webhook_id) for number in range(count)]
            self.outbox.enqueue_in(connection, made, now=0)


def now() -> int:
    """Return milliseconds since the epoch."""
    return int(time.time() * 1000)


def make_delivery(number: int, webhook_id: str) -> Delivery:
    """Return a delivery that no other call made."""
    occurred = Event(derived_id("bench", number), "job.execution.failed", now(), "org", "JobExecution", DATA)
    return Delivery.of(occurred, webhook_id)


def make_result(claim: Claim) -> Result:
    """Return what the relay has to say of a delivery that was taken at once."""
    delivery_id = claim.delivery.id
    attempt = Attempt(
        derived_id(delivery_id, claim.number), delivery_id, claim.number, now(), 0.004, status=200, response="ok" * 50
    )
    return Result(claim, attempt, Disposition(delivered=True))


def measure(bench: Bench) -> None:
    """Take every figure."""
    outbox = bench.outbox
    bench.take("claim, nothing due", lambda: claim(outbox, 200))
    started = time.perf_counter()
    bench.enqueue(500, webhooks=WEBHOOKS)
    bench.figures["enqueue, one by one"] = f"{500 / (time.perf_counter() - started):7.0f} deliveries/s"
    outbox.release(claim(outbox, 1000))
    bench.take("next_due", lambda: outbox.next_due(now=now()))
    for webhooks, limit in ((1, 32), (1, 100), (20, 20), (20, 200)):
        only = {f"webhook-{number}" for number in range(webhooks)}
        bench.enqueue(300 if webhooks == 1 else 0, webhooks=webhooks)
        for found in each_claim(bench, f"claim of {limit} from {webhooks} webhooks", limit, only):
            outbox.release(found)
    outbox.record([make_result(found) for found in claim(outbox, 10_000)], now=now())
    measure_record(bench)
    measure_backlogs(bench)
    bench.take("a page of 50, newest", lambda: outbox.deliveries())
    bench.take("a page of 50, one webhook", lambda: outbox.deliveries(DeliveryFilter(webhook_id="webhook-3")))
    rare = DeliveryFilter(dag_id="no-such-dag")
    bench.take("a page of a DAG that has none", lambda: outbox.deliveries(rare), times=5)
    dead = DeliveryFilter(state=DeliveryState.DEAD_LETTER)
    bench.take("a page of dead letters, of which there are none", lambda: outbox.deliveries(dead), times=5)
    bench.take("counts of all", outbox.counts, times=3)
    bench.take("prune 1000", lambda: next(outbox.prune(before=10**6)), times=10)


def claim(outbox: Outbox, limit: int, only: set[str] | None = None) -> tuple[Claim, ...]:
    """Claim at most `limit` deliveries, of some webhooks or of all."""
    return outbox.claim(
        now=now(), lease=LEASE, limit=limit, capacity=lambda webhook: limit if not only or webhook in only else 0
    )


def each_claim(bench: Bench, name: str, limit: int, only: set[str]) -> Iterator[tuple[Claim, ...]]:
    """Note how long a claim takes, and give what each took."""
    durations = []
    for _ in range(30):
        started = time.perf_counter()
        found = claim(bench.outbox, limit, only)
        durations.append((time.perf_counter() - started) * 1000)
        assert len(found) == limit, len(found)
        yield found
    bench.figures[name] = f"{statistics.median(durations):7.2f} ms  (p95 {sorted(durations)[28]:.2f})"


def measure_record(bench: Bench) -> None:
    """Note how fast results are written down, 100 at once."""
    bench.backlog("webhook-1", 3000)
    batches = [claim(bench.outbox, 100) for _ in range(30)]
    results = [[make_result(found) for found in batch] for batch in batches]
    started = time.perf_counter()
    for batch in results:
        assert not bench.outbox.record(batch, now=now()).refused
    took = time.perf_counter() - started
    bench.figures["record, 100 at once"] = f"{3000 / took:7.0f} results/s  ({took / 30 * 1000:.1f} ms each)"


def measure_backlogs(bench: Bench) -> None:
    """Note that what a paused and a full webhook wait with does not slow a claim down."""
    for webhook_id in ("paused", "full"):
        bench.backlog(webhook_id, 50_000)
    bench.outbox.pause("paused", "for the measurement", now=now())
    bench.enqueue(100, webhooks=1)
    for found in each_claim(bench, "claim of 32 beside backlogs of 2 × 50,000", 32, {"webhook-0"}):
        bench.outbox.release(found)


def _timed(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1000


@contextmanager
def _databases(folder: Path) -> Iterator[Iterator[Engine]]:
    # PostgreSQL's user has to get in.
    folder.chmod(0o755)
    (folder / "postgres").mkdir()
    server = PostgresServer.start(folder / "postgres", binaries=find_binaries() or Path())

    def engines() -> Iterator[Engine]:
        yield create_engine(server.create_database("bench"), executemany_mode="values_plus_batch", pool_pre_ping=True)
        lite = create_engine(f"sqlite:///{folder / 'bench.db'}", pool_pre_ping=True)
        # As Airflow sets it.
        event.listen(lite, "connect", lambda connection, _: connection.execute("PRAGMA journal_mode=WAL"))
        yield lite

    try:
        yield engines()
    finally:
        server.stop()


def main(rows: int) -> None:
    """Measure both databases and print the figures."""
    with tempfile.TemporaryDirectory() as name, _databases(Path(name)) as engines:
        for engine in engines:
            metadata.create_all(engine)
            with engine.begin() as connection:
                connection.execute(FILL, {"rows": rows, "no": False, "data": '{"Command":"' + "x" * 300 + '"}'})
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.execute(text("ANALYZE"))
            bench = Bench(engine.dialect.name, engine)
            measure(bench)
            print(f"\n{bench.name}, {rows:,} delivered, {os.cpu_count()} CPUs")
            for figure, value in bench.figures.items():
                print(f"  {figure:45} {value}")
            engine.dispose()


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else 1_000_000)
