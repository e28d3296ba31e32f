"""Which runs are followed, and what has been handed over of each.

Invariant: a run is followed from when it is first seen until some time after its end; what is remembered of it goes
with it, so the memory that this takes is that of the runs under way.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from airflow_webhook_notify.causes import Sign
from airflow_webhook_notify.observed import Occurrence, RunRow
from airflow_webhook_notify.watcher.evidence import Change
from airflow_webhook_notify.watcher.reading import ReadTask

#: For how long a run is followed after its end, and how long each look reads a run that someone changed. Milliseconds.
AFTER_END, AFTER_CHANGE = 60_000, 60_000
_ENDED = ("success", "failed")


@dataclass
class Followed:
    """A run and what is known of it. Times are milliseconds since the epoch.

    :param since: tasks that changed before were another watcher's, or nobody's
    :param changed: whether its row says more than when the last look was done
    :param read: whether its tasks were read since it came to the state that it is in
    :param hot_until: until when each look reads its tasks although it has ended
    :param seen: keys of what was handed over, or heard of by nobody
    :param rows: of the task instances that have been read
    """

    run: RunRow
    since: int
    changed: bool = True
    read: bool = False
    hot_until: int = 0
    drop_at: int | None = None
    seen: set[tuple[object, ...]] = field(default_factory=set)
    rows: set[object] = field(default_factory=set)
    signs: list[Sign] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        """Whether the run has ended."""
        return self.run.state in _ENDED


class Following:
    """The runs that are followed, by their numbers. Not thread-safe."""

    def __init__(self) -> None:
        self.runs: dict[int, Followed] = {}
        #: All runs that the last look read, those too that nobody hears of.
        self.known: dict[int, RunRow] = {}
        #: Rows of task instances that have been read, each with its stamp then.
        self.rows: dict[object, object] = {}
        self._by_name: dict[tuple[str, str], int] = {}
        self._by_dag: dict[str, set[int]] = {}

    def see(self, run: RunRow, *, now: int, since: int) -> None:
        """Take a run as it is now.

        :param since: from when its tasks' changes count, where it was not followed yet
        """
        known = self.runs.get(run.key)
        if known is None:
            known = self.runs[run.key] = Followed(run, since)
            self._by_name[(run.dag_id, run.run_id)] = run.key
            self._by_dag.setdefault(run.dag_id, set()).add(run.key)
        elif known.run is not run:
            known.changed = True
            known.read = known.read and known.run.state == run.state
        known.run = run
        if not known.ended:
            known.drop_at = None
        elif known.drop_at is None:
            known.drop_at = now + AFTER_END

    def note(self, changes: Iterable[Change], *, now: int) -> None:
        """Take what people did to runs that are followed."""
        for change in changes:
            for key in self._keys_of(change):
                followed = self.runs[key]
                if change.sign not in followed.signs:
                    followed.signs.append(change.sign)
                followed.hot_until = now + AFTER_CHANGE
                if followed.drop_at is not None:
                    followed.drop_at = max(followed.drop_at, followed.hot_until)

    def _keys_of(self, change: Change) -> list[int]:
        if change.run_id is None:
            return sorted(self._by_dag.get(change.dag_id, ()))
        key = self._by_name.get((change.dag_id, change.run_id))
        return [] if key is None else [key]

    def drop(self, *, now: int, gone: Iterable[int] = ()) -> None:
        """Forget the runs that ended long enough ago, and those that were deleted."""
        over = [key for key, item in self.runs.items() if item.drop_at is not None and now >= item.drop_at]
        for key in {*over, *gone}:
            followed = self.runs.pop(key)
            run = followed.run
            for row in followed.rows:
                del self.rows[row]
            self._by_name.pop((run.dag_id, run.run_id), None)
            self._by_dag[run.dag_id].discard(key)
            if not self._by_dag[run.dag_id]:
                del self._by_dag[run.dag_id]

    def clear(self) -> None:
        """Forget all."""
        self.__init__()  # type: ignore[misc]

    def to_read(self, *, now: int, wide: bool) -> list[int]:
        """Return the runs whose tasks this look reads.

        :param wide: whether it reads those too that ended a while ago
        """
        return [
            key
            for key, item in self.runs.items()
            if item.run.state == "running" or wide or not item.read or now < item.hot_until
        ]

    def fresh(self, key: int, occurrences: Iterable[Occurrence]) -> list[Occurrence]:
        """Return what of a run's occurrences is new."""
        seen = self.runs[key].seen
        return [item for item in occurrences if item.key not in seen]

    def remember(self, key: int, occurrence: Occurrence) -> None:
        """Take down that an occurrence was handed over."""
        # A run that was deleted meanwhile has nothing to remember.
        if key in self.runs:
            self.runs[key].seen.add(occurrence.key)

    def done(self, *, read: Iterable[int], tasks: Iterable[ReadTask]) -> None:
        """Take down that a look is done, which runs' tasks it read, and as what."""
        for followed in self.runs.values():
            followed.changed = False
        for key in read:
            if key in self.runs:
                self.runs[key].read = True
        for item in tasks:
            if item.key in self.runs:
                self.runs[item.key].rows.add(item.row)
                self.rows[item.row] = item.stamp

    def needs_history(self, item: ReadTask) -> bool:
        """Return whether a task instance may have earlier tries that were not read yet; each gets an id of its own."""
        task = item.task
        return item.row not in self.rows and (task.try_number > 1 or task.waits or task.state in _AGAIN)

    def key_of(self, dag_id: str, run_id: str) -> int:
        """Return the number of a run that is followed."""
        return self._by_name[(dag_id, run_id)]


#: What a task instance is in while its last try is in the history under another id.
_AGAIN = ("", "up_for_retry", "restarting")
