"""What happens to webhooks, counted through Airflow's own metrics.

Invariant: nothing here raises, and a name or tag holds no credential; where Airflow has no metrics switched on, a
call costs microseconds.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Any

log = logging.getLogger(__name__)

#: Counters.
ACCEPTED = "webhook_notify.accepted"
ATTEMPTS = "webhook_notify.attempts"
DELIVERED = "webhook_notify.delivered"
DEAD_LETTERS = "webhook_notify.dead_letters"
#: A gauge in seconds.
PENDING_AGE = "webhook_notify.pending_age"
#: A timer in milliseconds.
DELIVERY_LATENCY = "webhook_notify.delivery_latency"


def count(name: str, number: int = 1, **tags: str) -> None:
    """Add to a counter."""
    _emit("incr", name, number, tags)


def gauge(name: str, value: float, **tags: str) -> None:
    """Set a gauge."""
    _emit("gauge", name, value, tags)


def timing(name: str, milliseconds: float, **tags: str) -> None:
    """Add to a timer."""
    _emit("timing", name, milliseconds, tags)


def _emit(kind: str, name: str, value: float, tags: dict[str, str]) -> None:
    try:
        getattr(_backend(), kind)(name, value, tags=tags)
    except Exception as error:  # noqa: BLE001 - a metrics server that is away must not delay a delivery
        log.debug("The metric %s was not sent (%s)", name, type(error).__name__)


@cache
def _backend() -> Any:
    """Return Airflow's own, set up where Airflow did not: in commands, and on 3.2 in the API server."""
    from airflow._shared.observability.metrics import stats
    from airflow.configuration import conf
    from airflow.observability.metrics import stats_utils

    module: Any = stats
    factory: Any = stats_utils.get_stats_factory
    if hasattr(module, "incr"):
        if module._factory is None:
            legacy = conf.getboolean("metrics", "legacy_names_on", fallback=True)
            module.initialize(factory=factory(), export_legacy_names=legacy)
        return module
    # Airflow 3.2 has a class in place of functions.
    if module.Stats.factory is None:
        module.Stats.initialize(factory=factory(module.Stats))
    return module.Stats
