"""What the relay still has to write into the outbox.

Invariant: what the senders hand back stays here until the outbox has taken or refused it; only a result that the
outbox can't take by itself is dropped, and then the log says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from airflow_webhook_notify.outbox.records import Claim, Result
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.relay_report import Report, describe
from airflow_webhook_notify.relay_senders import Senders

log = logging.getLogger(__name__)

#: After how many failures in a row each result is tried by itself.
PATIENCE = 3


class Ledger:
    """Writes down what the senders hand back; used by the relay's own thread alone.

    :param clock: milliseconds since the epoch
    """

    def __init__(self, outbox: Outbox, senders: Senders, report: Report, *, clock: Callable[[], int]) -> None:
        self._outbox = outbox
        self._senders = senders
        self._report = report
        self._clock = clock
        self._results: list[Result] = []
        self._returned: list[Claim] = []
        self._failures = 0

    @property
    def unwritten(self) -> int:
        """How many results the outbox has not taken yet."""
        return len(self._results)

    def write(self) -> None:
        """Write down the results that are there, and give back what was not sent.

        :raises OutboxUnavailableError: where that has to be tried again
        """
        results, returned = self._senders.fetch()
        self._results += results
        self._returned += returned
        if self._results:
            self._write_results()
        if self._returned:
            self._outbox.release(self._returned)
            self._returned = []

    def _write_results(self) -> None:
        try:
            self._record(self._results)
        except Exception:
            self._failures += 1
            if self._failures < PATIENCE:
                raise
            self._outbox.check()
            self._write_singly()
        self._failures, self._results = 0, []

    def _record(self, results: Sequence[Result]) -> None:
        now = self._clock()
        recorded = self._outbox.record(results, now=now)
        for webhook_id, _ in recorded.paused:
            self._senders.withdraw(webhook_id)
        self._report.recorded(results, recorded, now=now)

    def _write_singly(self) -> None:
        """Find the result that the database does not take, which must not keep all others from it."""
        left: list[Result] = []
        problem: Exception | None = None
        for result in self._results:
            try:
                self._record_somehow(result)
            except Exception as error:  # noqa: BLE001 - what it is does not matter to the results behind it
                left.append(result)
                problem = error
        if problem is not None and len(left) == len(self._results):
            # It may be the database after all; once the lease has ended, the delivery is sent again in any case.
            self._results = [result for result in left if result.claim.expires_at > self._clock()]
            if self._results:
                raise problem
        for result in left:
            log.error("The result of %s can't be written down, so it is sent again: %s", describe(result), problem)

    def _record_somehow(self, result: Result) -> None:
        try:
            self._record([result])
        except Exception as error:  # noqa: BLE001 - tried once more, and then raised
            log.warning("The texts of an attempt of %s can't be written down: %s", describe(result), error)
            self._record([_without_texts(result)])


def _without_texts(result: Result) -> Result:
    error = None if result.attempt.error is None else "an error whose text the database does not take"
    return replace(result, attempt=replace(result.attempt, error=error, response=""))
