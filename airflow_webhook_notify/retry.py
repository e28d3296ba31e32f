"""When a delivery is tried again.

Invariant: pure; time and randomness come in as arguments, so a schedule can be checked by value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

#: The longest wait that an endpoint may ask for, in seconds (24 h).
MAX_RETRY_AFTER = 24 * 3600.0
#: How far a wait may stray from the schedule, as a part of it, so that what failed together is not retried together.
JITTER = 0.2
#: The status by which an endpoint says that it wants no more (RFC 9110, section 15.5.11).
GONE = 410
#: Bounds of one delay in seconds (30 days), and how many a schedule may have.
MIN_DELAY, MAX_DELAY, MAX_DELAYS = 0.1, 30 * 24 * 3600.0, 100


def parse_retry_after(value: str, *, now: float) -> float | None:
    """Return the seconds that a `Retry-After` header asks for, at most 24 h; None where it makes no sense.

    Source: RFC 9110, section 10.2.3 (delay in seconds, or a date).

    :param now: seconds since the epoch
    """
    text = value.strip()
    # A date is 29 characters; what is longer is no header that a server meant.
    if len(text) > 64:
        return None
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER)
    try:
        wait = parsedate_to_datetime(text).timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(wait, 0.0), MAX_RETRY_AFTER)


@dataclass(frozen=True, slots=True)
class DirectSchedule:
    """The short schedule of a direct delivery, which must end within the caller's deadline.

    :param delays: seconds to wait after the first, second, … failed attempt; then it is given up
    """

    delays: tuple[float, ...] = (0.5, 1.5)

    def wait_after(self, number: int, *, retry_after: float | None, remaining: float) -> float | None:
        """Return the seconds to wait after attempt `number` failed; None to give up.

        :param retry_after: seconds that the endpoint asked for, honoured as a minimum
        :param remaining: seconds left until the deadline; a wait that leaves none for the attempt is not begun
        """
        if number > len(self.delays):
            return None
        wait = max(self.delays[number - 1], retry_after or 0.0)
        return wait if wait < remaining else None


@dataclass(frozen=True, slots=True)
class Schedule:
    """When the relay tries a delivery again.

    :param delays: seconds to wait after the first, second, … failed attempt; after one more it is a dead letter
    """

    delays: tuple[float, ...] = (5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400)


@dataclass(frozen=True, slots=True)
class Disposition:
    """What becomes of a delivery after an attempt: delivered, tried again at `due_at`, or else a dead letter.

    :param due_at: milliseconds since the epoch
    :param pause: why the webhook is to be paused; None where it is not
    """

    delivered: bool = False
    due_at: int | None = None
    pause: str | None = None

    @property
    def dead_letter(self) -> bool:
        """Whether the schedule is exhausted."""
        return not self.delivered and self.due_at is None


def parse_schedule(text: str) -> Schedule:
    """Return the schedule that a list of seconds, separated by commas, names.

    :raises ValueError: saying what to put there
    """
    delays = tuple(_parse_delay(part.strip()) for part in text.split(","))
    if len(delays) > MAX_DELAYS:
        raise ValueError(f"{len(delays)} delays are too many; give at most {MAX_DELAYS}")
    return Schedule(delays)


def _parse_delay(text: str) -> float:
    try:
        delay = float(text)
    except ValueError:
        delay = math.nan
    if not MIN_DELAY <= delay <= MAX_DELAY:
        raise ValueError(
            f"{text[:40]!r} is not a number of seconds from {MIN_DELAY:g} to {MAX_DELAY:.0f}; "
            "give the waits between attempts, separated by commas, such as 5,300,1800"
        )
    return delay


def dispose(
    schedule: Schedule,
    *,
    step: int,
    status: int | None,
    now: int,
    retry_after: float | None = None,
    jitter: float = 0.0,
) -> Disposition:
    """Return what becomes of a delivery after an attempt.

    :param step: the attempt's place in its schedule, 1 for the first
    :param status: the HTTP status; None where no answer came
    :param now: milliseconds since the epoch
    :param retry_after: seconds that the endpoint asked for, honoured as a minimum and capped at 24 h
    :param jitter: from -1 to 1, drawn at random by the caller
    """
    if status is not None and 200 <= status < 300:
        return Disposition(delivered=True)
    if status == GONE:
        # It waits for a person, and goes at once when that person resumes the webhook.
        return Disposition(due_at=now, pause="the endpoint answered 410 Gone")
    if step > len(schedule.delays):
        return Disposition()
    wait = schedule.delays[step - 1] * (1 + JITTER * jitter)
    return Disposition(due_at=now + round(max(wait, min(retry_after or 0.0, MAX_RETRY_AFTER)) * 1000))
