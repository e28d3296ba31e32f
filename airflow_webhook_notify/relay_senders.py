"""The threads that make attempts, and which delivery each of them sends next.

Invariant: every claim that goes in comes out exactly once, as a result or given back; no webhook has more attempts
at the same time than its pace allows, and those that fail leave a part of all to those that work.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from airflow_webhook_notify.outbox.records import Claim, Result
from airflow_webhook_notify.relay_pacing import DOUBTFUL_SHARE, Pace

log = logging.getLogger(__name__)

#: After how many seconds without anything to do a thread ends.
IDLE = 30.0
#: How many results are worth a transaction at once.
BATCH = 100


@dataclass(slots=True)
class _Lane:
    """What one webhook has here."""

    pace: Pace = field(default_factory=Pace)
    waiting: deque[Claim] = field(default_factory=deque)
    active: int = 0

    @property
    def held(self) -> int:
        return self.active + len(self.waiting)


class Senders:
    """Threads that grow with what there is to do, and end when there is nothing.

    :param attempt: makes one attempt; None where it was not begun and the claim is to be given back
    :param call: called from any thread when there is enough for the relay to do
    :param in_flight: attempts at the same time
    :param in_flight_per_webhook: the same of one webhook
    """

    def __init__(
        self,
        attempt: Callable[[Claim], Result | None],
        *,
        call: Callable[[], None],
        in_flight: int,
        in_flight_per_webhook: int,
    ) -> None:
        self._attempt = attempt
        self._call = call
        self._most = in_flight
        self._most_each = min(in_flight, in_flight_per_webhook)
        self._most_doubtful = max(1, int(in_flight * DOUBTFUL_SHARE))
        lock = threading.Lock()
        self._work, self._quiet = threading.Condition(lock), threading.Condition(lock)
        self._lanes: dict[str, _Lane] = {}
        # Webhooks with something waiting, the next one to be served first.
        self._turns: dict[str, None] = {}
        self._more: Collection[str] = ()
        self._active = self._doubtful = self._held = self._idle = self._threads = 0
        self._results: list[Result] = []
        self._returned: list[Claim] = []
        self._closed = False

    # What the relay asks for

    def submit(self, claims: Sequence[Claim], *, more: Collection[str] = ()) -> None:
        """Take claims over, to be sent in this order within a webhook.

        :param more: webhooks of which more could be claimed, so `call` is called before they run out here
        """
        with self._work:
            self._more = more
            for claim in claims:
                self._lane(claim.delivery.webhook_id).waiting.append(claim)
                self._turns.setdefault(claim.delivery.webhook_id)
            self._held += len(claims)
            self._engage()

    def room(self, webhook_id: str) -> int:
        """Return how many more deliveries of this webhook to claim."""
        with self._work:
            lane = self._lanes.get(webhook_id) or _Lane()
            return max(0, lane.pace.hold(most=self._most_each) - lane.held)

    @property
    def held(self) -> int:
        """How many claims are here, sent or not, that `fetch` has not returned."""
        return self._held

    @property
    def busy(self) -> bool:
        """Whether there is as much to do as may be done at the same time."""
        return self._active >= self._most

    @property
    def hungry(self) -> bool:
        """Whether a webhook of which more could be claimed has less than half of what it may have here."""
        with self._work:
            return any(self._is_low(self._lane(webhook_id)) for webhook_id in self._more)

    def fetch(self) -> tuple[list[Result], list[Claim]]:
        """Return the results since the last call, and the claims to be given back."""
        with self._work:
            results, self._results = self._results, []
            returned, self._returned = self._returned, []
            self._held -= len(results) + len(returned)
            return results, returned

    def withdraw(self, webhook_id: str) -> None:
        """Give back what waits of one webhook, but for what a person asked for."""
        with self._work:
            self._withdraw(webhook_id, keep=lambda claim: claim.manual)

    def withdraw_all(self) -> None:
        """Give back everything that waits."""
        with self._work:
            for webhook_id in list(self._turns):
                self._withdraw(webhook_id, keep=lambda claim: False)  # noqa: ARG005

    def wait_until_quiet(self, timeout: float | None) -> bool:
        """Return once no attempt is being made; False where that takes longer than so many seconds."""
        with self._quiet:
            return self._quiet.wait_for(lambda: not self._active, timeout)

    def close(self) -> None:
        """Let each thread end after its attempt."""
        with self._work:
            self._closed = True
            self._work.notify_all()

    # All below is called with the lock held, but for `_run` and `_try`

    def _lane(self, webhook_id: str) -> _Lane:
        lane = self._lanes.get(webhook_id)
        if lane is None:
            lane = self._lanes[webhook_id] = _Lane()
        return lane

    def _is_low(self, lane: _Lane) -> bool:
        return 2 * lane.held <= lane.pace.hold(most=self._most_each)

    def _withdraw(self, webhook_id: str, *, keep: Callable[[Claim], bool]) -> None:
        lane = self._lane(webhook_id)
        waiting = list(lane.waiting)
        lane.waiting = deque(claim for claim in waiting if keep(claim))
        self._returned.extend(claim for claim in waiting if not keep(claim))
        if not lane.waiting:
            self._turns.pop(webhook_id, None)

    def _choose(self) -> str | None:
        """Return the webhook whose turn it is; None where no attempt may begin now."""
        if self._active >= self._most:
            return None
        return next((webhook_id for webhook_id in self._turns if self._may_begin(self._lanes[webhook_id])), None)

    def _may_begin(self, lane: _Lane) -> bool:
        if lane.pace.doubtful and self._doubtful >= self._most_doubtful:
            return False
        return lane.active < lane.pace.width(most=self._most_each)

    def _engage(self) -> None:
        """Get one thread going where one more attempt may begin; it gets the next one going."""
        if self._choose() is None or self._closed:
            return
        if self._idle:
            self._work.notify()
        elif self._threads < self._most:
            self._threads += 1
            threading.Thread(target=self._run, name="webhook sender", daemon=True).start()

    def _take(self) -> Claim | None:
        webhook_id = self._choose()
        if webhook_id is None:
            return None
        lane = self._lanes[webhook_id]
        claim = lane.waiting.popleft()
        del self._turns[webhook_id]
        if lane.waiting:
            self._turns[webhook_id] = None
        lane.active += 1
        self._active += 1
        self._doubtful += lane.pace.doubtful
        self._engage()
        return claim

    def _next(self) -> Claim | None:
        """Return what to send next, once there is something; None where the thread should end."""
        waited = True
        while waited and not self._closed:
            claim = self._take()
            if claim is not None:
                return claim
            self._idle += 1
            waited = self._work.wait(IDLE)
            self._idle -= 1
        # Whoever called for a thread just as this one gave up waiting must not be left without one.
        return None if self._closed else self._take()

    def _complete(self, claim: Claim, result: Result | None) -> bool:
        """Take a result in and return whether the relay should look."""
        lane = self._lanes[claim.delivery.webhook_id]
        self._doubtful -= lane.pace.doubtful
        lane.active -= 1
        self._active -= 1
        if result is None:
            self._returned.append(claim)
        else:
            self._results.append(result)
            self._judge(lane, result)
        if not self._active:
            self._quiet.notify_all()
        return len(self._results) >= BATCH or (claim.delivery.webhook_id in self._more and self._is_low(lane))

    def _judge(self, lane: _Lane, result: Result) -> None:
        before, attempt = lane.pace.doubtful, result.attempt
        lane.pace = lane.pace.after(succeeded=attempt.succeeded, duration=attempt.duration, most=self._most_each)
        self._doubtful += lane.active * (lane.pace.doubtful - before)

    def _run(self) -> None:
        claim, result = None, None
        while True:
            with self._work:
                call = claim is not None and self._complete(claim, result)
                claim = None if call else self._next()
            if call:
                self._call()
                continue
            if claim is None:
                break
            result = self._try(claim)
        with self._work:
            self._threads -= 1

    def _try(self, claim: Claim) -> Result | None:
        try:
            return self._attempt(claim)
        except Exception:
            log.exception("An attempt of delivery %s ended in a defect of this package", claim.delivery.id)
            return None
