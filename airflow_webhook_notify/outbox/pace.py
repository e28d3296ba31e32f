"""How fast what waited for a resumed webhook goes out.

Invariant: pure; never faster than the rate over any time longer than a second, and never stopped by a clock that was
set back.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """What may go now.

    :param used_until: the rate is used up until then; milliseconds since the epoch
    :param interval: milliseconds from one delivery to the next
    """

    allowed: int
    used_until: int
    interval: float

    def after(self, count: int) -> int:
        """Return until when the rate is used up once `count` went out; milliseconds since the epoch."""
        return self.used_until + round(count * self.interval)


def pace_at(used_until: int | None, *, now: int, rate: float) -> Pace:
    """Return what may go at `now`.

    :param used_until: what was written down after the last one, see :meth:`Pace.after`
    :param rate: deliveries a second
    """
    interval = 1000 / rate
    # However long nothing went, no more than a second's worth goes at once, but one always does.
    window = round(max(interval, 1000))
    if used_until is None or not now - window <= used_until <= now:
        used_until = now - window
    return Pace(int((now - used_until) / interval), used_until, interval)
