"""How long one look of the watcher takes, on PostgreSQL: `python -m tests.bench.watcher [old task instances]`.

Invariant: every figure is of whole looks, with the events in the outbox; Airflow's tables are Airflow's own, with
their indexes.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import Engine

from tests.postgres import PostgresServer, find_binaries

RUNS, TASKS, CHANGED = 1_000, 100, 500
FILL_RUNS = text(
    """
    INSERT INTO dag_run (dag_id, run_id, run_type, run_after, state, start_date, end_date, updated_at, clear_number,
      span_status)
    SELECT 'dag_' || (i % 200), :prefix || i, 'scheduled', now(), CAST(:state AS varchar), now() - interval '1 hour',
      CASE WHEN CAST(:state AS varchar) = 'success' THEN now() - interval '1 hour' END, now() - interval '1 hour', 0,
      'n' FROM generate_series(1, :runs) i
    """
)
FILL_TASKS = text(
    """
    INSERT INTO task_instance (id, dag_id, run_id, task_id, map_index, state, try_number, max_tries, hostname, pool,
      pool_slots, operator, start_date, end_date, queued_dttm, updated_at, span_status)
    SELECT gen_random_uuid(), 'dag_' || (i % 200), :prefix || i, 'task_' || t, -1,
      CASE WHEN t % 2 = 0 THEN 'success' ELSE CAST(:state AS varchar) END, CASE WHEN t % 2 = 0 THEN 1 ELSE :tries END,
      0, 'w', 'p', 1, 'BashOperator', now() - interval '1 hour', now() - interval '1 hour', now() - interval '2 hour',
      now() - interval '1 hour', 'n' FROM generate_series(1, :runs) i, generate_series(1, :tasks) t
    """
)
CHANGE = text(
    """
    UPDATE task_instance SET state = CASE CAST(substr(task_id, 6) AS integer) % 3 WHEN 0 THEN 'running' WHEN 1 THEN
      'success' ELSE 'failed' END, try_number = 1, hostname = 'w', queued_dttm = :now, start_date = :now,
      end_date = :now, updated_at = :now WHERE id IN (SELECT id FROM task_instance WHERE run_id LIKE 'active%'
      AND state = 'queued' LIMIT :changed)
    """
)


def fill(engine: Engine, prefix: str, *, runs: int, state: str, tasks_state: str) -> None:
    """Make runs with their task instances."""
    with engine.begin() as connection:
        connection.execute(FILL_RUNS, {"prefix": prefix, "runs": runs, "state": state})
        values = {"prefix": prefix, "runs": runs, "tasks": TASKS, "state": tasks_state}
        connection.execute(FILL_TASKS, {**values, "tries": 0 if tasks_state == "queued" else 1})
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE dag_run"))
        connection.execute(text("VACUUM ANALYZE task_instance"))


def measure(engine: Engine, name: str, *, rounds: int = 10) -> float:
    """Say how long looks take, and return the median of those with changes, in milliseconds."""
    from airflow_webhook_notify.connection import ListedWebhook
    from airflow_webhook_notify.models import Level, Webhook
    from airflow_webhook_notify.outbox.watch import Watch
    from airflow_webhook_notify.watcher.looks import Terms
    from airflow_webhook_notify.watcher.resident import Watcher

    webhook = Webhook(id="ops", endpoint="https://hooks.example.com", secrets=(), dags=("*",), level=Level.BOTH)
    listed = ListedWebhook("ops", "database", webhook, None, True)
    watcher = Watcher(Watch(engine), terms=Terms(), listing=lambda: [listed])
    first, idle, busy, taken = _timed(watcher), [], [], 0
    for _ in range(rounds):
        idle.append(_timed(watcher))
        with engine.begin() as connection:
            now = datetime.now(timezone.utc) + timedelta(milliseconds=1)
            connection.execute(CHANGE, {"now": now, "changed": CHANGED})
        started = time.perf_counter()
        taken += watcher.turn()
        busy.append((time.perf_counter() - started) * 1000)
    watcher._end()
    print(
        f"{name}: first {first:.0f} ms; idle {statistics.median(idle):.0f} ms; {CHANGED} changed: median "
        f"{statistics.median(busy):.0f} ms, worst {max(busy):.0f} ms ({taken / rounds:.0f} deliveries each)"
    )
    return statistics.median(busy)


def _timed(watcher: object) -> float:
    started = time.perf_counter()
    watcher.turn()  # type: ignore[attr-defined]
    return (time.perf_counter() - started) * 1000


def main(old: int) -> None:
    """Measure without and with old rows beside those under way."""
    binaries = find_binaries()
    if binaries is None:
        sys.exit("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = PostgresServer.start(Path(folder) / "pg", binaries=binaries)
        os.environ["AIRFLOW_HOME"] = f"{folder}/airflow"
        try:
            _main(server, old)
        finally:
            server.stop()


def _main(server: PostgresServer, old: int) -> None:
    from tests.integration.airflow_rows import make_tables

    engine = create_engine(server.create_database("watcher"))
    make_tables(engine)
    fill(engine, "active", runs=RUNS, state="running", tasks_state="queued")
    alone = measure(engine, f"{RUNS} runs under way, {RUNS * TASKS} task instances")
    fill(engine, "old", runs=old // TASKS, state="success", tasks_state="success")
    beside = measure(engine, f"beside {old} old task instances")
    print(f"the old ones change it by {100 * (beside / alone - 1):+.0f} %")
    engine.dispose()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
