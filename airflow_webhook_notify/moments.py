"""Moments as people and programs write and read them.

Invariant: pure, and milliseconds since the epoch inside.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
DAY = _UNITS["d"]
_DURATION = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
#: The longest that `[webhook_notify] retention` can be, in milliseconds.
LONGEST_AGE = 3650 * DAY
_LONGEST_DATE = 40
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment as a person gives it: a date, or so long ago.

    :param text: as it was given
    :param date: milliseconds since the epoch; None where it is so long ago
    :param ago: milliseconds
    """

    text: str
    date: int | None = None
    ago: int = 0

    def at(self, now: int) -> int:
        """Return the moment; both are milliseconds since the epoch."""
        return now - self.ago if self.date is None else self.date

    def __str__(self) -> str:
        return self.text


def moment_of(text: str) -> Moment:
    """Return the moment that is so long ago (90s, 15m, 24h, 7d), or an ISO 8601 date, in UTC where it names no zone.

    :raises ValueError: for any other text
    """
    ago = milliseconds_of(text)
    # Python takes thousands of digits for a date.
    date = _parse_date(text) if ago is None and len(text) <= _LONGEST_DATE else None
    if (ago is None and date is None) or (ago or 0) > LONGEST_AGE:
        raise ValueError(
            f"{text[:80]!r} is no moment: write how long ago it was, such as 15m, 24h or 7d, or a date, such as "
            "2026-05-27 or 2026-05-27T14:50:51Z"
        )
    return Moment(text.strip(), date, ago or 0)


def milliseconds_of(text: str) -> int | None:
    """Return the milliseconds of a duration such as 90s, 15m, 24h or 7d; None for any other text."""
    match = _DURATION.fullmatch(text.strip())
    return int(match[1]) * _UNITS[match[2]] if match else None


def _parse_date(text: str) -> int | None:
    try:
        # As the commands show it, and as Python 3.10 reads it.
        date = datetime.fromisoformat(re.sub(r"( UTC|Z)$", "+00:00", text.strip()))
        aware = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
        return (aware - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError):
        return None


def show_moment(moment: int) -> str:
    """Return a moment (milliseconds since the epoch) as a person reads it, in UTC."""
    date = _date_of(moment)
    return date.strftime("%Y-%m-%d %H:%M:%S UTC") if date else f"{moment} ms"


def write_moment(moment: int | None) -> str | None:
    """Return a moment (milliseconds since the epoch) as programs read it: ISO 8601, in UTC."""
    date = None if moment is None else _date_of(moment)
    return date.isoformat(timespec="milliseconds").replace("+00:00", "Z") if date else None


def _date_of(moment: int) -> datetime | None:
    try:
        return _EPOCH + timedelta(milliseconds=moment)
    except OverflowError:
        # An event's own time is whatever its sender wrote.
        return None
