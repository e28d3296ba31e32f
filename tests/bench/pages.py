"""How long the API server takes for what the Webhooks page shows, with many webhooks and a day's deliveries.

Invariant: asked over HTTP, of Airflow's own API server with its authentication; the database has 200 webhooks with
encrypted secrets and 100,000 deliveries of the last 24 hours.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Iterator

import requests
from sqlalchemy import insert, text
from sqlalchemy.engine import Engine

from airflow_webhook_notify.signing import generate_secret
from tests.bench.figures import Figure
from tests.bench.outbox import now
from tests.bench.scenes import DATABASES, Databases
from tests.integration.rest import MOUNT, Api, api_server, bearer, metadata_database

WEBHOOKS, DELIVERIES, ROUNDS = 200, 100_000, 30
#: Milliseconds.
WANTED = 300
_FILL = text(
    """
    INSERT INTO webhook_notify_delivery (id, webhook_id, event_id, topic, event_at, organization_id, resource, data,
      state, is_manual, created_at, due_at, attempts_count, schedule_start, delivered_at, last_status, last_error,
      dag_id, run_id, task_id, map_index, try_number)
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
    SELECT 'd-' || i, 'webhook_' || (i % :webhooks), 'e-' || i, 'job.execution.failed', :now, 'org', 'JobExecution',
      :data, CASE WHEN i % 50 = 0 THEN 'dead_letter' WHEN i % 50 = 1 THEN 'pending' ELSE 'delivered' END, :no,
      :now - 86400000 + i * (86400000 / :rows), CASE WHEN i % 50 = 1 THEN :now END, 1, 0,
      CASE WHEN i % 50 > 1 THEN :now END, CASE WHEN i % 50 > 1 THEN 200 ELSE 500 END,
      CASE WHEN i % 50 > 1 THEN NULL ELSE 'answered 500 Internal Server Error' END,
      'dag_' || (i % 300), 'run_' || (i / 100), 'task_' || (i % 7), -1, 1 FROM n
    """
)
#: What is asked for, and in words.
ASKED = (
    (f"The list of {WEBHOOKS} webhooks", "/v1/webhooks"),
    ("The newest 50 deliveries", "/v1/deliveries"),
    ("50 dead letters", "/v1/deliveries?state=dead_letter"),
    ("50 that wait", "/v1/deliveries?state=pending"),
    ("Those of one run", "/v1/deliveries?dag=dag_7&run=run_500"),
    ("Those of a topic that has none", "/v1/deliveries?topic=webhook.ping"),
    ("Those of a DAG and a webhook that has none of it", "/v1/deliveries?webhook=webhook_8&dag=dag_7"),
    ("One webhook", "/v1/webhooks/webhook_7"),
    # The pages themselves, where this app serves them.
    ("The page of the list", "/"),
    ("The page of one webhook", "/webhooks/webhook_7"),
    ("The page of deliveries", "/deliveries"),
)


def measure(bases: Databases) -> Iterator[Figure]:
    """Measure each on each database."""
    os.environ.setdefault("AIRFLOW__CORE__FERNET_KEY", "VZlXpDT8F9pUIgFnkMdcZP5vgEEZ2fXn1mwV1nnnr3o=")
    for kind in DATABASES:
        with metadata_database(bases.make(kind)), api_server() as api:
            _fill()
            yield from _figures(api, kind)


def _fill() -> None:
    from airflow import settings
    from airflow.models.connection import Connection

    engine = settings.engine
    assert engine is not None
    values = {"rows": DELIVERIES, "webhooks": WEBHOOKS, "now": now(), "no": False}
    with engine.begin() as connection:
        # Not as objects: each would teach Airflow's masker anew, which takes minutes for so many.
        connection.execute(insert(Connection.__table__), [_stored(number) for number in range(WEBHOOKS)])
        connection.execute(_FILL, {**values, "data": '{"Command":"' + "x" * 1200 + '"}'})
    _settle(engine)


def _stored(number: int) -> dict[str, object]:
    from airflow.models.crypto import get_fernet

    def encrypted(text: str) -> str:
        return get_fernet().encrypt(text.encode()).decode()

    extra = {"authorization": f"Bearer {number:032}", "dags": [f"dag_{number}*"], "headers": {"X-Team": "data"}}
    return {
        "conn_id": f"webhook_{number}",
        "conn_type": "webhook",
        "description": f"Webhook {number}",
        "host": f"https://hooks.example.com/services/{number:04}/a-path-that-is-secret",
        "password": encrypted(generate_secret()),
        "extra": encrypted(json.dumps(extra)),
        "is_encrypted": True,
        "is_extra_encrypted": True,
    }


def _settle(engine: Engine) -> None:
    if engine.dialect.name == "postgresql":
        # As its autovacuum does within a minute.
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE webhook_notify_delivery")


def _figures(api: Api, kind: str) -> Iterator[Figure]:
    with requests.Session() as session:
        session.headers.update(bearer("op"))
        for name, path in ASKED:
            if api.route_of("GET", path) is None:
                continue
            times = [_timed(session, f"{api.url}{MOUNT}{path}") for _ in range(ROUNDS)]
            median, worst = statistics.median(times), max(times)
            first = f"; the first time {times[0]:.0f} ms" if times[0] > 2 * median else ""
            measured = f"**{median:.0f} ms** (worst of {ROUNDS} {worst:.0f} ms{first})"
            yield Figure(f"{name}, {kind}", measured, f"≤ {WANTED} ms", median <= WANTED)


def _timed(session: requests.Session, url: str) -> float:
    started = time.perf_counter()
    answer = session.get(url, timeout=60)
    took = (time.perf_counter() - started) * 1000
    assert answer.status_code == 200, answer.text
    return took
