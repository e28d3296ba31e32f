"""From what has happened to what the webhooks are told of it, and when.

Invariant: an occurrence stays here until every webhook that hears of it was handed its event; what waits (for a
task's report, for the rest of a storm) keeps the mark from passing it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlalchemy.engine import Connection

from airflow_webhook_notify.causes import (
    Cause,
    Report,
    Sign,
    Traces,
    cause_of_run,
    cause_of_task,
    interference,
    is_marked,
)
from airflow_webhook_notify.executions import Sources
from airflow_webhook_notify.models import Delivery, Event, Level, Webhook, derived_id
from airflow_webhook_notify.observed import Known, Occurrence, TaskRow, build
from airflow_webhook_notify.outbox.watch import Taking, taken
from airflow_webhook_notify.payloads import ping_event
from airflow_webhook_notify.watcher import reading
from airflow_webhook_notify.watcher.audience import Audience
from airflow_webhook_notify.watcher.definitions import Definitions
from airflow_webhook_notify.watcher.evidence import TryKey, commands_of, reports_of, signs_of, try_key
from airflow_webhook_notify.watcher.finding import Found
from airflow_webhook_notify.watcher.following import Following
from airflow_webhook_notify.watcher.rollups import roll_up

log = logging.getLogger(__name__)

MINUTE = 60_000


@dataclass
class Pending:
    """An occurrence that somebody is still to be told of.

    :param key: the number of its run
    :param noticed: milliseconds since the epoch
    :param event: None while its cause is not settled
    :param told: ids of the webhooks that have been
    """

    key: int
    occurrence: Occurrence
    noticed: int
    event: Event | None = None
    told: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Told:
    """What a hand-over tells whom."""

    pending: Pending
    webhook_id: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the database knows of some tries.

    :param commands: None for a task that rendered no command
    """

    reports: Mapping[str, Report]
    signs: Mapping[TryKey, tuple[Sign, ...]]
    commands: Mapping[tuple[str, str, str, int], str | None]


class Telling:
    """Keeps what is still to be told. Not thread-safe.

    :param reports: whether tasks report their failures
    :param grace: for how long a failure waits for its report; milliseconds
    """

    def __init__(
        self, audience: Audience, following: Following, definitions: Definitions, *, reports: bool, grace: int
    ) -> None:
        self._audience, self._following, self._definitions = audience, following, definitions
        self._reports, self._grace = reports, grace
        self._pending: dict[tuple[int, tuple[object, ...]], Pending] = {}

    def add(self, found: Iterable[Found], *, now: int) -> None:
        """Take what has happened; what nobody hears of is remembered at once."""
        for item in found:
            name = item.key, item.occurrence.key
            if not self._audience.hearing(item.occurrence):
                self._following.remember(item.key, item.occurrence)
            elif name not in self._pending:
                self._pending[name] = Pending(item.key, item.occurrence, now)

    def settle(self, connection: Connection, sources: Sources) -> None:
        """Build the events of what is known well enough, or has waited long enough."""
        waiting = [item for item in self._pending.values() if item.event is None]
        if not waiting:
            return
        first = self._first_failures(connection, waiting)
        tasks = [(item.key, item.occurrence.task) for item in waiting if item.occurrence.task is not None]
        evidence = self._gather(connection, tasks, [*first.items()], waiting)
        for item in waiting:
            cause = self._cause(item, evidence, first)
            if cause is None or cause.settled or sources.now - item.noticed >= self._grace:
                item.event = self._event(item, cause, evidence, sources)

    def _first_failures(self, connection: Connection, waiting: Sequence[Pending]) -> Mapping[int, TaskRow]:
        runs = [item.key for item in waiting if item.occurrence.failed and item.occurrence.task is None]
        failed = sorted(reading.failed_tasks(connection, runs), key=lambda pair: pair[1].ended_at, reverse=True)
        return dict(failed)

    def _gather(
        self,
        connection: Connection,
        tasks: Sequence[tuple[int, TaskRow]],
        first: Sequence[tuple[int, TaskRow]],
        waiting: Sequence[Pending],
    ) -> Evidence:
        failed = {item.occurrence.task.id for item in waiting if item.occurrence.failed and item.occurrence.task}
        asked = [*first, *((key, task) for key, task in tasks if task.id in failed)]
        return Evidence(
            reports_of(connection, asked),
            signs_of(connection, (task for _, task in asked)),
            commands_of(connection, (task for _, task in [*tasks, *first] if task.began)),
        )

    def _cause(self, item: Pending, evidence: Evidence, first: Mapping[int, TaskRow]) -> Cause | None:
        occurrence = item.occurrence
        if not occurrence.failed:
            return None
        if occurrence.task is not None:
            return self._cause_of_task(item, occurrence.task, evidence)
        signs = self._signs(item.key)
        run, timeout = occurrence.run, self._definitions.of(occurrence.run).timeout
        lasted = (run.end or run.updated) - run.start if run.start is not None else 0
        earliest = first.get(item.key)
        return cause_of_run(
            marked=is_marked(signs, at=run.updated, task_id=None),
            timed_out=timeout is not None and lasted >= timeout.total_seconds() * 1000,
            first=None if earliest is None else self._cause_of_task(item, earliest, evidence),
        )

    def _cause_of_task(self, item: Pending, task: TaskRow, evidence: Evidence) -> Cause:
        definition = self._definitions.of(item.occurrence.run).task(task.task_id)
        ended = (task.end or task.updated) if task.past else task.updated
        traces = Traces(
            report=evidence.reports.get(task.id),
            signs=evidence.signs.get(try_key(task), ()),
            by_hand=interference(self._signs(item.key), at=ended, task_id=task.task_id, past=task.past),
            ran=task.ran and task.began,
            # It renders its fields first, and where there is no trace of that, it may not have come so far.
            began=not definition.renders or try_key(task)[:4] in evidence.commands,
            reports=self._reports,
        )
        return cause_of_task(task.state, traces)

    def _signs(self, key: int) -> Sequence[Sign]:
        followed = self._following.runs.get(key)
        return () if followed is None else followed.signs

    def _event(self, item: Pending, cause: Cause | None, evidence: Evidence, sources: Sources) -> Event:
        occurrence, task = item.occurrence, item.occurrence.task
        dag = self._definitions.of(occurrence.run)
        if task is None:
            timeout = dag.timeout.total_seconds() if dag.timeout else None
            known = Known(cause=cause, time_to_live=timeout)
        else:
            command = evidence.commands.get(try_key(task)[:4])
            known = Known(cause=cause, definition=dag.task(task.task_id), command=command)
        built = build(occurrence, known, sources)
        for problem in built.problems:
            log.info("webhooks: event %s: %s", built.event.id, problem)
        return built.event

    # Handing over

    def takings(self, connection: Connection, sources: Sources) -> Iterator[tuple[Sequence[Taking], Sequence[Told]]]:
        """Return what can be handed over now, each with what it tells whom."""
        single: list[tuple[Webhook, Pending, Event]] = []
        storms: dict[tuple[str, int], list[Pending]] = {}
        for item in self._pending.values():
            for webhook in self._listeners(item):
                if _is_rolled_up(webhook, item.occurrence):
                    storms.setdefault((webhook.id, item.key), []).append(item)
                elif item.event is not None:
                    single.append((webhook, item, item.event))
        yield from self._singles(connection, single, now=sources.now)
        webhooks = {webhook.id: webhook for webhook in self._audience.webhooks}
        for (webhook_id, key), items in storms.items():
            ready = [item for item in items if item.event is not None]
            if ready and self._is_over(webhooks[webhook_id], key, items, now=sources.now):
                yield self._storm(connection, webhooks[webhook_id], ready, sources)
        yield from self._heartbeats(sources)

    def _singles(
        self, connection: Connection, single: Sequence[tuple[Webhook, Pending, Event]], *, now: int
    ) -> Iterator[tuple[Sequence[Taking], Sequence[Told]]]:
        # What the outbox has already must not use a rate up; without a rate, it is passed over where it is written.
        paced = [Delivery.of(event, webhook.id).id for webhook, _, event in single if webhook.rate]
        known = _known(connection, paced)
        for webhook, item, event in single:
            new = not known or Delivery.of(event, webhook.id).id not in known
            yield [self._taking(webhook, event, now=now)] if new else [], [Told(item, webhook.id)]

    def _listeners(self, item: Pending) -> list[Webhook]:
        return [webhook for webhook in self._audience.hearing(item.occurrence) if webhook.id not in item.told]

    def _is_over(self, webhook: Webhook, key: int, items: Sequence[Pending], *, now: int) -> bool:
        followed = self._following.runs.get(key)
        opened = min(item.noticed for item in items)
        return followed is None or followed.ended or now - opened >= (webhook.roll_up or 0) * 1000

    def _storm(
        self, connection: Connection, webhook: Webhook, items: Sequence[Pending], sources: Sources
    ) -> tuple[Sequence[Taking], Sequence[Told]]:
        ids = {Delivery.of(item.event, webhook.id).id: item.event for item in items if item.event is not None}
        # A callback has told of it, or the watcher before this one has.
        known = _known(connection, ids)
        events = [event for name, event in ids.items() if name not in known]
        told = [Told(item, webhook.id) for item in items]
        if len(events) < 2:
            return [self._taking(webhook, event, now=sources.now) for event in events], told
        whole = roll_up(items[0].occurrence.run, events, sources)
        parts = [Taking(Delivery.of(event, webhook.id), sources.now, within=whole.id) for event in events]
        return [self._taking(webhook, whole, now=sources.now), *parts], told

    def _heartbeats(self, sources: Sources) -> Iterator[tuple[Sequence[Taking], Sequence[Told]]]:
        now = sources.now
        for webhook in self._audience.webhooks:
            known = self._audience.subscription(webhook.id)
            if webhook.heartbeat is None or now - known.pinged_at < webhook.heartbeat * MINUTE:
                continue
            self._audience.put(replace(known, pinged_at=now))
            identifier = derived_id("heartbeat", sources.organization_id, webhook.id, now)
            event = ping_event(webhook, event_id=identifier, organization_id=sources.organization_id, now=now)
            yield [Taking(Delivery.of(event, webhook.id), now)], []

    def _taking(self, webhook: Webhook, event: Event, *, now: int) -> Taking:
        return Taking(Delivery.of(event, webhook.id), self._due_at(webhook, now=now))

    def _due_at(self, webhook: Webhook, *, now: int) -> int:
        """Return when an event may go: as many at once as the rate allows a minute, and then one by one."""
        if not webhook.rate:
            return now
        known = self._audience.subscription(webhook.id)
        paced_at = max(known.paced_at, now) + round(MINUTE / webhook.rate)
        self._audience.put(replace(known, paced_at=paced_at))
        return max(now, paced_at - MINUTE)

    def told(self, told: Iterable[Told]) -> None:
        """Take down what was handed over; what everyone has heard of is remembered."""
        for item in told:
            item.pending.told.add(item.webhook_id)
        for key, pending in list(self._pending.items()):
            if not self._listeners(pending):
                self._following.remember(pending.key, pending.occurrence)
                del self._pending[key]

    def oldest(self, default: int) -> int:
        """Return when the oldest of what is still to be told was noticed."""
        return min((item.noticed for item in self._pending.values()), default=default)


def _known(connection: Connection, ids: Iterable[str]) -> set[str]:
    return {name for part in reading.chunks(ids) for name in taken(connection, part)}


def _is_rolled_up(webhook: Webhook, occurrence: Occurrence) -> bool:
    return webhook.roll_up is not None and occurrence.failed and occurrence.level is Level.TASK
