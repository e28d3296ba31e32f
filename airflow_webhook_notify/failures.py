"""What an operator reads when an attempt failed.

Invariant: no text here holds a URL's path, query or userinfo, or anything that the other side wrote beyond a
number; the texts of requests' and urllib3's own exceptions do, so they are never used.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
from dataclasses import dataclass
from enum import Enum
from http import HTTPStatus

#: How a proxy is told from an endpoint in every text: this, and its host.
PROXY = "the proxy "


class Phase(Enum):
    """How far an attempt has come."""

    RESOLVE = "resolve"
    CONNECT = "connect"
    TUNNEL = "tunnel"
    TLS = "tls"
    ANSWER = "answer"


class AttemptError(Exception):
    """An attempt failed before its endpoint had answered.

    :param text: what went wrong, for an operator
    :param final: whether trying again can't help until a person has mended something
    """

    def __init__(self, text: str, *, final: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.final = final


@dataclass(frozen=True, slots=True)
class Stage:
    """Where an attempt stood when it failed.

    :param peer: who it dealt with: the endpoint's host, or :data:`PROXY` and the proxy's
    :param limit: seconds that the phase may take
    """

    phase: Phase
    peer: str
    limit: float


# Numbers of OpenSSL's X509_V_ERR_*: its texts differ from version to version.
_UNTRUSTED = "is signed by an authority that is not trusted here; if it is yours, set CA bundle to its PEM file"
_CERTIFICATE_FAULTS = {
    9: "is not valid yet; check the clock of this machine",
    10: "has expired; renew it",
    18: "is self-signed; set CA bundle to a PEM file with it",
    19: _UNTRUSTED,
    20: _UNTRUSTED,
    21: _UNTRUSTED,
    62: "is for another host (hostname mismatch); check the host in Endpoint URL",
    64: "is for another address (IP address mismatch); use the name that it is for in Endpoint URL",
}
_TUNNEL_STATUS = re.compile(r"Tunnel connection failed: (\d{3})\b")


def describe(error: Exception, stage: Stage) -> AttemptError:
    """Return the failure that an exception of the network stands for."""
    if isinstance(error, AttemptError):
        return error
    if isinstance(error, TimeoutError):
        return AttemptError(_timeout(stage))
    if isinstance(error, socket.gaierror | UnicodeError):
        return AttemptError(_unresolved(error, stage))
    if isinstance(error, ssl.SSLError):
        return AttemptError(_tls(error, stage))
    if isinstance(error, OSError):
        return AttemptError(_broken(error, stage))
    if isinstance(error, http.client.HTTPException):
        return AttemptError(f"{stage.peer} answered with something that is not HTTP")
    return AttemptError(f"the request could not be made ({type(error).__name__})")


def status_text(status: int) -> str:
    """Return a status with the standard's own phrase, never the other side's."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def seconds(value: float) -> str:
    """Return a number of seconds as a person would write it."""
    return f"{value:.3g} s"


def _timeout(stage: Stage) -> str:
    limit = seconds(stage.limit)
    return {
        Phase.RESOLVE: f"{_name(stage)} did not resolve within {limit}",
        Phase.CONNECT: f"no connection to {stage.peer} within {limit}",
        Phase.TUNNEL: f"{stage.peer} opened no tunnel within {limit}",
        Phase.TLS: f"no TLS connection to {stage.peer} within {limit}",
        Phase.ANSWER: f"no answer within {limit}",
    }[stage.phase]


def _name(stage: Stage) -> str:
    return f"the name of {stage.peer}" if stage.peer.startswith(PROXY) else f"the name {stage.peer}"


def _unresolved(error: socket.gaierror | UnicodeError, stage: Stage) -> str:
    why = error.strerror if isinstance(error, socket.gaierror) else "it is not a valid name"
    return f"{_name(stage)} does not resolve: {why}"


def _tls(error: ssl.SSLError, stage: Stage) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        fault = _CERTIFICATE_FAULTS.get(error.verify_code, f"is not accepted: {error.verify_message}")
        return f"the certificate of {stage.peer} {fault}"
    reason = (error.reason or type(error).__name__).replace("_", " ").lower()
    if reason in ("wrong version number", "record layer failure", "http request"):
        return f"{stage.peer} does not speak TLS on this port; check scheme and port ({reason})"
    return f"TLS with {stage.peer} failed: {reason}"


def _broken(error: OSError, stage: Stage) -> str:
    if stage.phase is Phase.TUNNEL and (refused := _TUNNEL_STATUS.match(str(error))):
        return f"{stage.peer} opened no tunnel: it answered {status_text(int(refused[1]))}"
    if isinstance(error, ConnectionRefusedError):
        return f"{stage.peer} refused the connection"
    if isinstance(error, ConnectionError):
        when = "before it answered" if stage.phase is Phase.ANSWER else "while it was being set up"
        return f"{stage.peer} closed the connection {when}"
    why = os.strerror(error.errno) if error.errno else type(error).__name__
    return f"no connection to {stage.peer}: {why}"
