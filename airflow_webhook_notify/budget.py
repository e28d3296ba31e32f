"""How much time one process may spend on webhooks.

Invariant: within any window, the deliveries of one process together take no longer than the budget, so that
they never reach the limits after which Airflow kills a task process or a DAG file's callbacks.

After a task's state is reported, all its callbacks together have `[core] task_success_overtime` (20 s); a DAG
file's callbacks have `[dag_processor] dag_file_processor_timeout` (50 s).
"""

from __future__ import annotations

from collections import deque


class Budget:
    """Seconds that may be spent within a sliding window.

    A window, not a sum: `dag.test()` runs a whole DAG in one process, which may live for hours.

    :param seconds: what may be spent
    :param window: seconds after which what was spent is forgotten
    """

    # No dataclass: making one costs every DAG parse as much as all other imports of ours together.
    def __init__(self, seconds: float = 10.0, window: float = 60.0) -> None:
        self.seconds = seconds
        self.window = window
        self._spent: deque[tuple[float, float]] = deque()

    def remaining(self, *, now: float) -> float:
        """Return the seconds that may still be spent.

        :param now: seconds of a clock that never goes back
        """
        while self._spent and self._spent[0][0] <= now - self.window:
            self._spent.popleft()
        return max(0.0, self.seconds - sum(seconds for _, seconds in self._spent))

    def spend(self, seconds: float, *, now: float) -> None:
        """Note that so many seconds, which ended now, were spent."""
        self._spent.append((now, seconds))
