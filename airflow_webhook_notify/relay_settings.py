"""The relay's options as one value.

Invariant: complete and within bounds wherever it exists.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from airflow_webhook_notify import config
from airflow_webhook_notify.retry import Schedule

#: How often a relay in a process of its own looks at an idle outbox, in seconds: no intake wakes it.
ALONE = 0.05


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """The relay's options.

    :param in_flight: attempts at the same time
    :param in_flight_per_webhook: the same of one webhook
    :param lease: seconds
    :param resume_rate: deliveries a second of a resumed webhook
    :param retention: days
    :param poll: seconds from one look at an idle outbox to the next
    """

    in_flight: int = 128
    in_flight_per_webhook: int = 32
    lease: float = 60.0
    schedule: Schedule = field(default_factory=Schedule)
    resume_rate: float = 20.0
    retention: float = 30.0
    poll: float = 0.25

    @classmethod
    def read(cls) -> RelaySettings:
        """Return what `airflow.cfg` says.

        :raises ConfigurationError: naming the first option that can't be used
        """
        return cls(
            in_flight=config.RELAY_IN_FLIGHT.read(),
            in_flight_per_webhook=config.RELAY_IN_FLIGHT_PER_WEBHOOK.read(),
            lease=config.LEASE.read(),
            schedule=config.RETRY_SCHEDULE.read(),
            resume_rate=config.RESUME_RATE.read(),
            retention=config.RETENTION.read(),
        )
