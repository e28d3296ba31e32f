"""Durations and moments as the arguments of commands.

Invariant: pure, and milliseconds inside.
"""

from __future__ import annotations

import argparse

from airflow_webhook_notify.moments import DAY, LONGEST_AGE, Moment, milliseconds_of, moment_of

_LONGEST = 366 * DAY


def parse_duration(text: str) -> int:
    """Return the milliseconds of a duration such as 90s, 15m, 24h or 7d.

    :raises argparse.ArgumentTypeError: for any other text, and for more than a year
    """
    duration = milliseconds_of(text)
    if duration is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a duration: write a whole number and its unit, such as 90s, 15m, 24h or 7d"
        )
    if duration > _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is longer than a year")
    return duration


def parse_age(text: str) -> int:
    """Return the milliseconds of a duration of up to 3650 days.

    :raises argparse.ArgumentTypeError: for any other text
    """
    duration = milliseconds_of(text)
    if duration is None or duration > LONGEST_AGE:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a duration of up to 3650d: write a whole number and its unit, such as 12h or 30d"
        )
    return duration


def parse_moment(text: str) -> Moment:
    """Return the moment that a person writes, see :func:`moment_of`.

    :raises argparse.ArgumentTypeError: for any other text
    """
    try:
        return moment_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
