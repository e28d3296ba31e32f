"""When a delivery is tried again.

Invariant: pure; time and randomness come in as arguments, so a schedule can be checked by value.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime

#: The longest wait that an endpoint may ask for, in seconds (24 h).
MAX_RETRY_AFTER = 24 * 3600.0


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
