"""What the address of the delivery log asks for.

Invariant: whatever stands in an address, what comes out is a filter, or words for whoever wrote it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from urllib.parse import urlencode

from airflow_webhook_notify.models import DeliveryState
from airflow_webhook_notify.moments import moment_of
from airflow_webhook_notify.outbox.records import DeliveryFilter

#: The tabs of Airflow's own pages that show a part of the log.
TABS = ("run", "task")
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class LogQuery:
    """The parameters as they came; what was not given is empty.

    :param tab: which of Airflow's pages the log is a tab of; empty where it is a page of its own
    """

    tab: str = ""
    state: str = ""
    topic: str = ""
    webhook: str = ""
    dag: str = ""
    run: str = ""
    task: str = ""
    map_index: str = ""
    try_number: str = ""
    since: str = ""
    until: str = ""
    cursor: str = ""

    @classmethod
    def of(cls, params: Mapping[str, str]) -> LogQuery:
        """Return what the parameters of an address ask for."""
        given = {each.name: params.get(each.name, "").strip()[:_LONGEST] for each in fields(cls)}
        query = cls(**given)
        return query if query.tab in TABS else replace(query, tab="")

    @property
    def filtered(self) -> bool:
        """Whether it asks for less than all there is in its place."""
        given = [self.state, self.topic, self.webhook, self.since, self.until, self.try_number]
        return any(given) or (not self.tab and bool(self.dag or self.run))

    def filter(self, *, now: int) -> DeliveryFilter:
        """Return the filter.

        :param now: milliseconds since the epoch
        :raises ValueError: where a parameter can't be read, in words for a person
        """
        for each in fields(self):
            if "\0" in getattr(self, each.name):
                # PostgreSQL would refuse the statement.
                raise ValueError(f"{each.name}: has a NUL, which no name has")
        return DeliveryFilter(
            webhook_id=self.webhook or None,
            state=_state_of(self.state),
            topic=self.topic or None,
            dag_id=self.dag or None,
            run_id=self.run or None,
            task_id=self.task or None,
            map_index=_map_index_of(self.map_index),
            try_number=_number_of(self.try_number),
            since=moment_of(self.since).at(now) if self.since else None,
            until=moment_of(self.until).at(now) if self.until else None,
        )

    def address(self, *, cursor: str | None) -> str:
        """Return the address of another page of the same, below that of this one."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return "?" + urlencode({name: value for name, value in {**given, "cursor": cursor or ""}.items() if value})


def _state_of(text: str) -> DeliveryState | None:
    try:
        return DeliveryState(text) if text else None
    except ValueError:
        states = ", ".join(state.value for state in DeliveryState)
        raise ValueError(f"{text[:80]!r} is no state of a delivery; the states are {states}") from None


def _map_index_of(text: str) -> int | None:
    # Airflow leaves its placeholder as it is where a task is not mapped.
    return _number_of(text) if text.isdigit() else None


def _number_of(text: str) -> int | None:
    if not text:
        return None
    # As large as the column: a larger number would be an error of the database.
    if not (text.isascii() and text.isdigit() and int(text) < 2**31):
        raise ValueError(f"{text[:80]!r} is no number of a try; the first is 1")
    return int(text)
