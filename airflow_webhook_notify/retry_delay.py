"""When Airflow will try a task again.

Invariant: the same time that Airflow's scheduler derives (`TaskInstance.next_retry_datetime`), which the process
that runs a callback can't ask; None where a retry policy of the task's own decides.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from datetime import timedelta, timezone
from typing import Any

#: Airflow's own limit, in seconds (`airflow.sdk.definitions._internal.abstractoperator.MAX_RETRY_DELAY`).
_MAX_RETRY_DELAY = 24 * 60 * 60


def next_retry_at(ti: Any, task: Any, context: Mapping[str, Any], *, end: int) -> int | None:
    """Return the earliest time of the task's next try, in milliseconds since the epoch.

    :param end: when this try ended, in milliseconds since the epoch
    """
    delay = getattr(task, "retry_delay", None)
    if not isinstance(delay, timedelta) or getattr(task, "retry_policy", None) is not None:
        return None
    multiplier = float(getattr(task, "retry_exponential_backoff", 0) or 1.0)
    if multiplier > 0 and multiplier != 1.0:
        delay = _backoff(delay, multiplier, key=_key_of(ti, context), try_number=int(ti.try_number))
        delay = min(delay, getattr(task, "max_retry_delay", None) or delay)
    return end + int(delay.total_seconds() * 1000)


def _key_of(ti: Any, context: Mapping[str, Any]) -> str:
    logical_date = context.get("logical_date") or getattr(context.get("dag_run"), "logical_date", None)
    if logical_date is not None:
        # As the scheduler holds it: in UTC, written as Python writes a datetime.
        logical_date = logical_date.astimezone(timezone.utc).isoformat(sep=" ")
    return f"{ti.dag_id}#{ti.task_id}#{logical_date}#{ti.try_number}"


def _backoff(delay: timedelta, multiplier: float, *, key: str, try_number: int) -> timedelta:
    try:
        least = max(1, math.ceil(delay.total_seconds() * multiplier ** (try_number - 1)))
    except OverflowError:
        least = _MAX_RETRY_DELAY
    digest = int(hashlib.sha1(key.encode(), usedforsecurity=False).hexdigest(), 16)
    return timedelta(seconds=min(least + digest % least, _MAX_RETRY_DELAY))
