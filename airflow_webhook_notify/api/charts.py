"""The bars of a webhook's last 24 hours, and the same in words.

Invariant: pure; whatever was failed shows, however small its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

#: What a bar may take of the chart's height, and from one bar to the next.
_HEIGHT, _STEP = 96.0, 10
#: The least that is seen of one.
_LEAST = 6.0


class Counted(Protocol):
    """The deliveries that were taken in in one hour."""

    @property
    def delivered(self) -> int: ...
    @property
    def failed(self) -> int: ...


class Bar(NamedTuple):
    """One hour: heights out of 100, the failed above the delivered."""

    x: int
    delivered: float
    failed: float
    words: str


def bars(hours: Sequence[Counted]) -> list[Bar]:
    """Return a bar for each hour, oldest first; the highest is as high as may be."""
    most = max((hour.delivered + hour.failed for hour in hours), default=0) or 1
    return [_bar(hour, index, most=most, ago=len(hours) - index) for index, hour in enumerate(hours)]


def _bar(hour: Counted, index: int, *, most: int, ago: int) -> Bar:
    failed = _share(hour.failed, most)
    # Where both are small, what failed takes from what was delivered.
    delivered = min(_share(hour.delivered, most), _HEIGHT - failed)
    words = f"{_when(ago)}: {hour.delivered:,} delivered, {hour.failed:,} failed"
    return Bar(index * _STEP, round(delivered, 1), round(failed, 1), words)


def _share(count: int, most: int) -> float:
    return max(_LEAST, _HEIGHT * count / most) if count else 0.0


def _when(ago: int) -> str:
    return "The last hour" if ago == 1 else f"{ago} to {ago - 1} hours ago"


def outline(drawn: Sequence[Bar], *, failed: bool) -> str:
    """Return all bars of one kind as one SVG path, which a list of many charts has room for."""
    parts = []
    for bar in drawn:
        height, foot = (bar.failed, 100 - bar.delivered) if failed else (bar.delivered, 100.0)
        if height:
            parts.append(f"M{bar.x} {foot:g}v-{height:g}h8v{height:g}z")
    return "".join(parts)


def in_words(hours: Sequence[Counted]) -> str:
    """Return what the chart shows, for whoever does not see it."""
    delivered, failed = sum(hour.delivered for hour in hours), sum(hour.failed for hour in hours)
    if not delivered + failed:
        return "Nothing in the last 24 hours"
    most = max(range(len(hours)), key=lambda index: hours[index].delivered + hours[index].failed)
    busiest = hours[most].delivered + hours[most].failed
    when = _when(len(hours) - most).lower()
    return f"Last 24 hours: {delivered:,} delivered, {failed:,} failed; most in one hour: {busiest:,} ({when})"
