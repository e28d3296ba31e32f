"""How many attempts one webhook gets at the same time, by how its latest ones went.

Invariant: pure; a webhook that fails or that nobody knows yet gets few, so dead endpoints can't fill the relay, and
a fast one gets no more than it can use, since threads that only wait for each other slow all of them down.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

#: Attempts at the same time of a webhook that fails; one that was never tried gets a single one.
FEW = 2
#: The part of all attempts that webhooks which fail, or have not succeeded yet, may have together.
DOUBTFUL_SHARE = 0.75
#: Attempts at the same time of the fastest endpoint: while one waits for its answer, another is being signed.
HANDFUL = 2
#: How many attempts a second are enough for one webhook; what takes longer gets more at the same time.
ENOUGH = 500.0
#: How much the latest attempt counts in the usual duration.
SHARE = 0.1
#: How much work is claimed ahead of what is being sent, in seconds and in deliveries.
AHEAD = 0.5
MOST_AHEAD = 250


@dataclass(frozen=True, slots=True)
class Pace:
    """How one webhook's latest attempts went.

    :param reach: attempts that it may have at the same time, as far as its successes go: one more with each, half
        with each failure
    :param duration: of a usual attempt in seconds; None before the first success
    :param failures: since the last success
    """

    reach: int = FEW
    duration: float | None = None
    failures: int = 0

    @property
    def doubtful(self) -> bool:
        """Whether it fails, or has not succeeded yet."""
        return self.reach <= FEW

    def after(self, *, succeeded: bool, duration: float, most: int) -> Pace:
        """Return the pace after one more attempt.

        :param duration: seconds
        :param most: attempts that any webhook may have at the same time
        """
        if not succeeded:
            return replace(self, reach=max(FEW, self.reach // 2), failures=self.failures + 1)
        usual = duration if self.duration is None else self.duration + SHARE * (duration - self.duration)
        return Pace(reach=min(self.reach + 1, max(most, FEW + 1)), duration=usual)

    def width(self, *, most: int) -> int:
        """Return how many attempts it may have at the same time now.

        :param most: attempts that any webhook may have at the same time
        """
        if self.duration is None and not self.failures:
            return 1
        if self.doubtful or self.duration is None:
            return min(FEW, most)
        return min(self.reach, most, max(HANDFUL, math.ceil(self.duration * ENOUGH)))

    def hold(self, *, most: int) -> int:
        """Return how many deliveries to claim for it, those that are being sent among them."""
        width = self.width(most=most)
        if self.doubtful or self.duration is None:
            return width
        ahead = width * AHEAD / max(self.duration, width * AHEAD / MOST_AHEAD)
        return width + math.ceil(ahead)


@dataclass(frozen=True, slots=True)
class Margin:
    """When an attempt may still begin under a lease, so that it has ended before the lease does.

    :param lease: seconds that a fresh lease lasts
    """

    lease: float

    @property
    def spare(self) -> float:
        """Seconds at the end of a lease for writing the result down."""
        return max(0.5, self.lease * 0.05)

    def limit(self, *, remaining: float, timeout: float) -> float | None:
        """Return the seconds that the attempt may take; None where too few are left and it is better claimed anew.

        :param remaining: seconds until the lease ends
        :param timeout: of the webhook, in seconds
        """
        # A webhook whose timeout is longer than the whole lease gets most of what a fresh lease offers.
        least = min(timeout, 0.8 * (self.lease - self.spare))
        left = remaining - self.spare
        return left if left >= least else None
