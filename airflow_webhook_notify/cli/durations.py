"""Durations and moments as people write and read them.

Invariant: pure, and milliseconds inside.
"""

from __future__ import annotations

import argparse
import re
from datetime import datetime, timezone

_UNITS = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION = re.compile(r"([0-9]{1,9})([smhd])", re.ASCII)
_LONGEST = 366 * _UNITS["d"]


def parse_duration(text: str) -> int:
    """Return the milliseconds of a duration such as 90s, 15m, 24h or 7d.

    :raises argparse.ArgumentTypeError: for any other text, and for more than a year
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a duration: write a whole number and its unit, such as 90s, 15m, 24h or 7d"
        )
    duration = int(match[1]) * _UNITS[match[2]]
    if duration > _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is longer than a year")
    return duration


def show_moment(moment: int) -> str:
    """Return a moment (milliseconds since the epoch) as a person reads it, in UTC."""
    return datetime.fromtimestamp(moment / 1000, tz=timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
