"""Airflow's own tables, filled through Airflow's own models, and a watcher that looks at them.

Invariant: every row is written and changed by Airflow's models, so that what they stamp is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.models.dag import DagModel, DagTag
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.renderedtifields import RenderedTaskInstanceFields
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG
from jsonschema import Draft202012Validator
from sqlalchemy import insert, select
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from airflow_webhook_notify.connection import ListedWebhook
from airflow_webhook_notify.executions import Sources
from airflow_webhook_notify.models import Delivery, DeliveryState, Level, Webhook
from airflow_webhook_notify.outbox.records import DeliveryDetail, DeliveryFilter
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.outbox.tables import metadata
from airflow_webhook_notify.outbox.watch import Watch
from airflow_webhook_notify.payloads import build_payload
from airflow_webhook_notify.schema import payload_schema
from airflow_webhook_notify.watcher.looks import Terms
from airflow_webhook_notify.watcher.resident import Watcher

SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
PAYLOADS = Draft202012Validator(payload_schema())
#: The first moment of these tests.
T0 = datetime(2026, 1, 2, tzinfo=timezone.utc)
T0_MS = int(T0.timestamp() * 1000)
EVERY = Webhook(id="ops", endpoint="https://hooks.example.com", secrets=(), dags=("*",), level=Level.BOTH)


def at(seconds: float) -> datetime:
    """So many seconds after the first moment."""
    return T0 + timedelta(seconds=seconds)


def make_tables(engine: Engine) -> None:
    """Make Airflow's tables and ours."""
    import_all_models()  # type: ignore[no-untyped-call]
    Base.metadata.create_all(engine)
    metadata.create_all(engine)


@dataclass
class Clock:
    """The time of a test, in seconds after the first moment."""

    seconds: float = 0.0

    def __call__(self) -> int:
        """Return milliseconds since the epoch."""
        return T0_MS + round(self.seconds * 1000)


@dataclass
class Heard:
    """One delivery in the outbox, in a test's words."""

    job: str
    map_index: int
    try_number: int
    topic: str
    state: str
    data: dict[str, Any] = field(repr=False)
    event_id: str = field(repr=False, default="")
    webhook_id: str = field(repr=False, default="ops")
    due_at: int = field(repr=False, default=0)

    @classmethod
    def of(cls, detail: DeliveryDetail) -> Heard:
        """Return what a delivery is about."""
        delivery = Delivery(detail.record.id, detail.record.webhook_id, detail.event)
        payload = json.loads(build_payload(delivery, "attempt-1"))
        PAYLOADS.validate(payload)
        data: dict[str, Any] = payload["Data"]
        told = data.get("Airflow", {"MapIndex": -1, "TryNumber": 0, "State": ""})
        name = data.get("JobId", data["Id"])
        return cls(
            *(name, told["MapIndex"], told["TryNumber"], detail.event.topic.rpartition(".")[2], told["State"], data),
            event_id=detail.event.id,
            webhook_id=detail.record.webhook_id,
            due_at=(detail.record.due_at or T0_MS) - T0_MS,
        )

    @property
    def short(self) -> str:
        """What happened, in one line."""
        place = f"[{self.map_index}]" if self.map_index >= 0 else ""
        number = f"#{self.try_number}" if self.try_number else ""
        return f"{self.job}{place}{number} {self.topic} ({self.state})"


@dataclass
class AirflowRows:
    """A metadata database and the watchers that look at it."""

    engine: Engine
    clock: Clock = field(default_factory=Clock)
    webhooks: list[Webhook] = field(default_factory=lambda: [EVERY])
    terms: Terms = field(default_factory=Terms)
    seen: set[tuple[str, str]] = field(default_factory=set)

    # Airflow's rows

    @contextmanager
    def session(self) -> Iterator[Session]:
        """A session that commits."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session
            session.commit()

    def dag(self, dag_id: str, *, tags: Sequence[str] = ()) -> None:
        """Make a DAG."""
        with self.session() as session:
            if session.get(DagBundleModel, "tests") is None:
                session.add(DagBundleModel(name="tests"))
                session.flush()
            model = DagModel(dag_id=dag_id, bundle_name="tests", fileloc="f", max_active_tasks=1)  # type: ignore[no-untyped-call]
            model.has_task_concurrency_limits, model.max_consecutive_failed_dag_runs = False, 0
            model.timetable_type = "t"
            session.add(model)
            session.flush()
            session.add_all(DagTag(name=tag, dag_id=dag_id) for tag in tags)

    def run(self, dag_id: str = "etl", run_id: str = "r1", *, state: str = "running", start: float | None = 0) -> None:
        """Make a run, and its DAG where there is none."""
        with self.session() as session:
            known = session.get(DagModel, dag_id) is not None
        if not known:
            self.dag(dag_id)
        with self.session() as session:
            run = DagRun(
                dag_id=dag_id, run_id=run_id, run_type="scheduled", run_after=T0, queued_at=None,
                start_date=None if start is None else at(start),
            )  # fmt: skip
            run._state = state
            run.updated_at = self.now
            session.add(run)

    @property
    def now(self) -> datetime:
        """The test's time."""
        return at(self.clock.seconds)

    def change_run(self, run_id: str = "r1", *, dag_id: str = "etl", **values: Any) -> None:
        """Change a run; times are seconds."""
        with self.session() as session:
            run = session.scalars(select(DagRun).where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)).one()
            self._set(run, values)

    def _set(self, row: Any, values: dict[str, Any]) -> None:
        for name, value in values.items():
            is_time = name in ("start_date", "end_date", "queued_dttm") and value is not None
            setattr(
                row, "_state" if isinstance(row, DagRun) and name == "state" else name, at(value) if is_time else value
            )
        row.updated_at = self.now

    def task(self, task_id: str = "load", *, run_id: str = "r1", dag_id: str = "etl", **values: Any) -> str:
        """Make a task instance, or change it; times are seconds. Return its id."""
        index = values.pop("map_index", -1)
        with self.session() as session:
            row = session.scalars(self._find(dag_id, run_id, task_id, index)).one_or_none()
            if row is None:
                task = EmptyOperator(task_id=task_id, dag=DAG(dag_id))
                row = TaskInstance(task, None, run_id=run_id, map_index=index)  # type: ignore[arg-type]
                row.operator = "BashOperator"
                session.add(row)
            self._set(row, values)
            session.flush()
            return str(row.id)

    @staticmethod
    def _find(dag_id: str, run_id: str, task_id: str, index: int) -> Any:
        names = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id, "map_index": index}
        return select(TaskInstance).filter_by(**names)

    def runs_task(self, task_id: str = "load", *, try_number: int = 1, start: float = 0, **values: Any) -> str:
        """Have a task's process begin."""
        known = {"hostname": "worker", "end_date": None, "queued_dttm": start - 0.5, "start_date": start}
        return self.task(task_id, state="running", try_number=try_number, **{**known, **values})

    def next_try(self, task_id: str = "load", *, run_id: str = "r1", dag_id: str = "etl", **values: Any) -> None:
        """Do what Airflow does before every further try, by a retry or when it is cleared; then change the row."""
        with self.session() as session:
            row = session.scalars(self._find(dag_id, run_id, task_id, values.pop("map_index", -1))).one()
            if "end_date" in values:
                row.end_date = at(values.pop("end_date"))
            row.prepare_db_for_next_try(session)
            self._set(row, values)

    def logs(self, event: str, *, task_id: str | None = None, try_number: int | None = None, **values: Any) -> None:
        """Write a row of the audit log."""
        names: dict[str, Any] = {"dag_id": "etl", "run_id": "r1", "task_id": task_id, "try_number": try_number}
        names["map_index"] = -1 if try_number else None
        names.update(values)
        extra = names.pop("extra", None)
        with self.session() as session:
            row = Log(event=event, extra=extra, **names)
            row.dttm = self.now
            session.add(row)

    def reports(self, task_id: str, value: Any, *, run_id: str = "r1", map_index: int = -1) -> None:
        """Write the XCom that a failed task leaves."""
        with self.session() as session:
            key = session.scalars(select(DagRun.id).where(DagRun.run_id == run_id)).one()
            names = {"dag_id": "etl", "run_id": run_id, "task_id": task_id, "map_index": map_index}
            session.add(
                XComModel(dag_run_id=key, key="webhook_notify_failure", value=value, timestamp=self.now, **names)
            )

    def renders(self, task_id: str, fields: dict[str, Any], *, run_id: str = "r1", map_index: int = -1) -> None:
        """Write a task's rendered fields."""
        names = {"dag_id": "etl", "run_id": run_id, "task_id": task_id, "map_index": map_index}
        with self.session() as session:
            session.execute(insert(RenderedTaskInstanceFields).values(**names, rendered_fields=fields))

    # The watcher

    def watcher(self, **arguments: Any) -> Watcher:
        """A watcher whose turns the test takes."""
        return Watcher(
            Watch(self.engine),
            terms=self.terms,
            listing=lambda: [ListedWebhook(item.id, "database", item, None, True) for item in self.webhooks],
            sources=lambda now: Sources("org", now, lambda text, _: text, "http://airflow.example.com"),
            clock=self.clock,
            **arguments,
        )

    def look(self, watcher: Watcher, *, after: float = 1.0) -> list[str]:
        """Let time pass and the watcher look; return what is new in the outbox."""
        self.clock.seconds += after
        watcher.turn()
        return [item.short for item in self.new()]

    def new(self) -> list[Heard]:
        """Return what is new in the outbox and goes out, in the order of its happening."""
        outbox, found = Outbox(self.engine), []
        cursor = None
        while True:
            page = outbox.deliveries(DeliveryFilter(), cursor=cursor, limit=500)
            for record in page.deliveries:
                name = (record.webhook_id, record.event_id)
                if name not in self.seen:
                    self.seen.add(name)
                    found.append(outbox.delivery(record.id))
            cursor = page.cursor
            if cursor is None:
                break
        going = [item for item in found if item and item.record.state is not DeliveryState.CANCELLED]
        details = sorted(going, key=_moment)
        return [Heard.of(item) for item in details]

    def with_webhooks(self, *webhooks: Webhook) -> AirflowRows:
        """Have these webhooks and no others."""
        self.webhooks = list(webhooks)
        return self


def _moment(item: DeliveryDetail) -> tuple[int, bool]:
    return item.event.created_at, item.event.topic != "job.execution.started"


def subscriber(name: str = "ops", **values: Any) -> Webhook:
    """A webhook that hears of all, but for these values."""
    return replace(EVERY, id=name, **values)
