"""Sockets that keep an attempt's deadline and the address rule.

Invariant: every wait on a socket of ours ends at the deadline of the attempt that uses it, however few bytes
the other side sends at a time; and a socket is connected only to an address that was checked, which it is
checked for once more when it is connected.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from airflow_webhook_notify.addresses import Refusal, find_refusal
from airflow_webhook_notify.config import ALLOWED_NETWORKS, Network
from airflow_webhook_notify.failures import AttemptError, Phase, Stage
from airflow_webhook_notify.names import SECTION


@dataclass(slots=True)
class Exchange:
    """One attempt under way, by which its sockets know their deadline and to which they report.

    All times are those of `time.monotonic()`.

    :param target: what the request line asks for; kept from everything that might log it
    :param allowed: networks that may be reached though they are not public
    :param timeout: seconds for the attempt in all
    :param connect_timeout: seconds of them for DNS, TCP and TLS
    :param deadline: when the attempt ends
    :param fresh: whether a kept connection must not be used
    """

    target: str
    allowed: Sequence[Network]
    timeout: float
    connect_timeout: float
    deadline: float
    fresh: bool = False
    reused: bool = False
    answered: bool = False
    phase: Phase = Phase.ANSWER
    peer: str = ""
    until: float = 0.0

    def begin(self, phase: Phase, peer: str) -> None:
        """Enter a phase; all phases before the answer share one limit."""
        self.phase, self.peer = phase, peer
        if phase is Phase.ANSWER:
            self.until = self.deadline
        elif phase is Phase.RESOLVE:
            self.until = min(self.deadline, time.monotonic() + self.connect_timeout)

    def begin_body(self, timeout: float) -> None:
        """Give the answer's body, which decides nothing, at most so many seconds of what is left."""
        self.until = min(self.deadline, time.monotonic() + timeout)

    @property
    def remaining(self) -> float:
        """Seconds that the phase has left.

        :raises TimeoutError: where there are none
        """
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError("deadline")
        return left

    @property
    def stale(self) -> bool:
        """Whether it failed as it does when the other side had closed a kept connection meanwhile."""
        return self.reused and not self.answered and time.monotonic() < self.deadline

    @property
    def stage(self) -> Stage:
        """Where it stands, for the text of a failure."""
        limit = self.timeout if self.phase is Phase.ANSWER else self.connect_timeout
        return Stage(self.phase, self.peer, limit)


_CURRENT: ContextVar[Exchange | None] = ContextVar("webhook_exchange", default=None)


@contextmanager
def exchanging(exchange: Exchange) -> Iterator[None]:
    """Make this the exchange of every socket that is used inside, in this thread."""
    token = _CURRENT.set(exchange)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def is_exchanging() -> bool:
    """Whether this thread is inside an attempt."""
    return _CURRENT.get() is not None


def current_exchange() -> Exchange:
    """Return the exchange of this thread.

    :raises RuntimeError: outside of one: then nothing would bound the wait
    """
    exchange = _CURRENT.get()
    if exchange is None:
        raise RuntimeError("a webhook's connection was used outside of an attempt")
    return exchange


class DeadlineSocket(socket.socket):
    """A TCP socket whose every operation ends by the deadline of the current exchange."""

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        exchange = current_exchange()
        self.settimeout(exchange.remaining)
        count = super().recv_into(*args, **kwargs)
        exchange.answered = exchange.answered or count > 0
        return count

    def recv(self, *args: Any, **kwargs: Any) -> bytes:
        self.settimeout(current_exchange().remaining)
        return super().recv(*args, **kwargs)

    def send(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(current_exchange().remaining)
        return super().send(*args, **kwargs)

    def sendall(self, *args: Any, **kwargs: Any) -> None:
        # Both kinds bound the whole: the plain one in C, the TLS one by calling send() for each part.
        self.settimeout(current_exchange().remaining)
        super().sendall(*args, **kwargs)


class DeadlineTLSSocket(DeadlineSocket, ssl.SSLSocket):
    """The same with TLS."""

    def do_handshake(self, block: bool = False) -> None:
        self.settimeout(current_exchange().remaining)
        super().do_handshake(block)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One address that a name resolved to, ready for `connect`."""

    family: int
    sockaddr: Any

    @property
    def address(self) -> str:
        """The address as text."""
        return str(self.sockaddr[0])


def resolve(host: str, port: int, *, timeout: float) -> list[Candidate]:
    """Return the addresses of a name, in the order to try them.

    The system's resolver knows no timeout, so it runs in a thread that is left behind when it hangs.

    :param timeout: seconds
    :raises OSError: where the name does not resolve (`socket.gaierror`), or not in time (`TimeoutError`)
    :raises UnicodeError: where it can't be a name
    """
    answer: queue.SimpleQueue[list[Candidate] | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            answer.put([Candidate(family, sockaddr) for family, _, _, _, sockaddr in found])
        except (OSError, UnicodeError) as error:
            answer.put(error)

    threading.Thread(target=ask, name="webhook name look-up", daemon=True).start()
    try:
        result = answer.get(timeout=timeout)
    except queue.Empty:
        raise TimeoutError("name look-up") from None
    if isinstance(result, Exception):
        raise result
    return result


def permit(host: str, candidates: Sequence[Candidate], allowed: Sequence[Network]) -> list[Candidate]:
    """Return the candidates that may be reached; of a name with public and private addresses, the public ones.

    :raises AttemptError: where there is none
    """
    refusals: list[Refusal] = []
    permitted: list[Candidate] = []
    for candidate in candidates:
        refusal = find_refusal(candidate.address, allowed)
        if refusal is None:
            permitted.append(candidate)
        else:
            refusals.append(refusal)
    if refusals and not permitted:
        option = f"[{SECTION}] {ALLOWED_NETWORKS.name}"
        raise AttemptError(refusals[0].explain(host, option=option), final=True)
    return permitted


def open_socket(host: str, port: int, exchange: Exchange, *, peer: str, guarded: bool) -> DeadlineSocket:
    """Return a socket that is connected to the host, within the exchange's time for it.

    :param peer: the host, as failures name it
    :param guarded: whether the address rule applies
    :raises AttemptError: where every address is refused
    :raises OSError: where the name does not resolve or none of its addresses answers
    """
    exchange.begin(Phase.RESOLVE, peer)
    candidates = resolve(host, port, timeout=exchange.remaining)
    if guarded:
        candidates = permit(host, candidates, exchange.allowed)
    exchange.begin(Phase.CONNECT, peer)
    failed: OSError = OSError("no address")
    for position, candidate in enumerate(candidates):
        # A share for each, so that one which drops our packets leaves time for the next.
        share = exchange.remaining / (len(candidates) - position)
        try:
            return _connect(candidate, share, host=host, exchange=exchange, guarded=guarded)
        except OSError as error:
            failed = error
    raise failed


def _connect(candidate: Candidate, timeout: float, *, host: str, exchange: Exchange, guarded: bool) -> DeadlineSocket:
    connection = DeadlineSocket(candidate.family, socket.SOCK_STREAM)
    try:
        # Head and body are two writes, and the second must not wait for the first to be acknowledged.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(timeout)
        connection.connect(candidate.sockaddr)
        if guarded:
            peer = Candidate(candidate.family, connection.getpeername())
            permit(host, [peer], exchange.allowed)
    except BaseException:
        connection.close()
        raise
    return connection
