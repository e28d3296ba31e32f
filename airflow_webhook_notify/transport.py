"""requests' adapter and urllib3's pools over the sockets of :mod:`airflow_webhook_notify.sockets`.

Invariant: the path of an endpoint is known to nothing here but the line that writes it to the socket, so that no
log record or exception of urllib3 or requests can hold it; and whatever fails on a connection leaves it as a
`AttemptError`.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from requests import PreparedRequest, RequestException, Response
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH, prepend_scheme_if_needed
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_ import create_urllib3_context

from airflow_webhook_notify.failures import PROXY, AttemptError, Phase, describe
from airflow_webhook_notify.models import origin_of
from airflow_webhook_notify.sockets import (
    DeadlineSocket,
    DeadlineTLSSocket,
    current_exchange,
    is_exchanging,
    open_socket,
)

#: What a connection may raise; all else is a defect and passes.
NETWORK_ERRORS = (OSError, HTTPException, HTTPError, ValueError)
_ENDPOINTS = 100
_KEPT_PER_ENDPOINT = 32


def _outside_attempts(record: logging.LogRecord) -> bool:  # noqa: ARG001 - the signature of a filter
    return not is_exchanging()


# urllib3 logs what is wrong with a response's headers, in the words of whoever sent them, and its pools' comings
# and goings; an attempt says all of that itself.
for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_outside_attempts)


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except NETWORK_ERRORS as error:
        raise describe(error, current_exchange().stage) from None


class _Connection(HTTPConnection):
    """A kept connection; what it is used for, and by when, comes from the current exchange."""

    _answered = False
    _holds_head = False
    _head = b""

    def _new_conn(self) -> DeadlineSocket:
        # `_dns_host` keeps a trailing dot, without which a search domain of the machine's would be tried.
        host = self._dns_host.strip("[]")
        return open_socket(
            host,
            self.port,
            current_exchange(),
            peer=f"{PROXY}{self.host}" if self.proxy else host,
            guarded=self.proxy is None,
        )

    def connect(self) -> None:
        with _failures():
            super().connect()
        current_exchange().begin(Phase.ANSWER, self._tunnel_host or self.host)

    def _tunnel(self) -> None:
        exchange = current_exchange()
        exchange.begin(Phase.TUNNEL, exchange.peer)
        super()._tunnel()
        exchange.begin(Phase.TLS, str(self._tunnel_host))

    def putrequest(self, method: str, url: str, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        super().putrequest(method, current_exchange().target, *args, **kwargs)

    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        # Head and body leave together: a packet, a system call and often a wait of the endpoint's less.
        self._holds_head = True
        try:
            super().endheaders(*args, **kwargs)
        finally:
            self._holds_head = False

    def send(self, data: Any) -> None:
        if self._holds_head:
            self._head = data
            return
        head, self._head = self._head, b""
        super().send(head + data if head else data)

    def request(self, *args: Any, **kwargs: Any) -> None:
        exchange = current_exchange()
        exchange.reused = self._answered
        if self.sock is not None:
            exchange.begin(Phase.ANSWER, self._tunnel_host or self.host)
        try:
            super().request(*args, **kwargs)
        except ConnectionError:
            # An endpoint may answer and close before it has read the body; the pool goes on to read the answer.
            raise
        except NETWORK_ERRORS as error:
            raise describe(error, exchange.stage) from None

    def getresponse(self) -> Any:
        with _failures():
            response = super().getresponse()
        self._answered = self.sock is not None
        return response

    def close(self) -> None:
        self._answered = False
        super().close()


class _TLSConnection(_Connection, HTTPSConnection):
    def _new_conn(self) -> DeadlineSocket:
        connection = super()._new_conn()
        exchange = current_exchange()
        exchange.begin(Phase.TLS, exchange.peer)
        return connection


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection

    def _get_conn(self, timeout: float | None = None) -> Any:
        connection = super()._get_conn(timeout)
        if current_exchange().fresh:
            connection.close()
        return connection


class _TLSPool(_Pool, HTTPSConnectionPool):
    ConnectionCls = _TLSConnection

    def _validate_conn(self, conn: Any) -> None:
        # Without urllib3's warning at each request where verification is switched off: it was switched off
        # on purpose, and `doctor` says so.
        if conn.is_closed:
            conn.connect()


_POOLS: dict[str, Any] = {"http": _Pool, "https": _TLSPool}


@dataclass(frozen=True, slots=True)
class Route:
    """What tells one set of kept connections from another.

    :param verify: whether certificates are verified
    :param ca_bundle: path of a PEM file or a directory of them; None for the public authorities
    :param proxy: URL of the proxy; it may hold credentials
    """

    verify: bool
    ca_bundle: str | None
    proxy: str | None = field(repr=False)


def open_transport(route: Route) -> Transport:
    """Return the transport of a route, its certificates loaded.

    :raises AttemptError: where its CA bundle or its proxy can't be used
    """
    try:
        tls = make_tls_context(verify=route.verify, ca_bundle=route.ca_bundle)
    except OSError as error:
        why = "no certificate in it" if isinstance(error, ssl.SSLError) else os.strerror(error.errno or 0)
        text = f"CA bundle: {route.ca_bundle} can't be used ({why}); put the path of a PEM file there"
        raise AttemptError(text, final=True) from None
    try:
        return Transport(tls=tls, proxy=route.proxy)
    except (RequestException, HTTPError, ValueError):
        text = "Proxy: can't be used; put an http or https URL there, such as http://proxy.example.com:3128"
        raise AttemptError(text, final=True) from None


def make_tls_context(*, verify: bool, ca_bundle: str | None) -> ssl.SSLContext:
    """Return a context that is loaded once and serves all connections.

    :raises OSError: where it can't be read, or holds no certificate (`ssl.SSLError`)
    """
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED if verify else ssl.CERT_NONE)
    context.sslsocket_class = DeadlineTLSSocket
    if verify:
        bundle = ca_bundle or DEFAULT_CA_BUNDLE_PATH
        is_directory = Path(bundle).is_dir()
        context.load_verify_locations(cafile=None if is_directory else bundle, capath=bundle if is_directory else None)
    return context


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint's URL as it goes on the wire: punycode, percent-encoding.

    :param path: with the query
    """

    url: str = field(repr=False)
    path: str = field(repr=False)


@lru_cache(maxsize=1024)
def parse_endpoint(url: str) -> Endpoint:
    """Return the endpoint of a URL.

    :raises AttemptError: where it is not one
    """
    request = PreparedRequest()
    try:
        request.prepare_url(url, None)
        endpoint = Endpoint(str(request.url), request.path_url)
    except (RequestException, HTTPError, ValueError):
        text = "Endpoint URL: is not a URL; give the whole of it, such as https://hooks.example.com/airflow"
        raise AttemptError(text, final=True) from None
    return endpoint


class Transport(HTTPAdapter):
    """Sends prepared requests over kept connections, through one proxy or none.

    Used without a `requests.Session`: it is sessions that follow redirects, keep cookies and read `~/.netrc`.

    :param tls: for endpoints, and for a proxy that is itself reached by `https`
    :param proxy: its URL
    :raises ValueError: where that can't be used
    """

    def __init__(self, *, tls: ssl.SSLContext, proxy: str | None) -> None:
        self._tls = tls
        self._proxied = proxy is not None
        super().__init__(pool_connections=_ENDPOINTS, pool_maxsize=_KEPT_PER_ENDPOINT)
        self._pools: PoolManager = self.poolmanager
        if proxy is not None:
            self._pools = self.proxy_manager_for(_check_proxy(proxy), ssl_context=tls, proxy_ssl_context=tls)
        self._pools.pool_classes_by_scheme = _POOLS

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._tls, **kwargs)

    def get_connection_with_tls_context(self, request: PreparedRequest, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        return self._pools.connection_from_url(str(request.url))

    def cert_verify(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: the context has its authorities, and must get no others."""

    def request_url(self, request: PreparedRequest, proxies: object) -> str:  # noqa: ARG002
        """Return a stand-in for the request's target, which the connection puts in its place."""
        return f"{origin_of(str(request.url))}/" if self._forwards(str(request.url)) else "/"

    def target_of(self, endpoint: Endpoint) -> str:
        """Return the true target of requests: the path, or for a proxy that forwards plain `http` the URL."""
        return endpoint.url if self._forwards(endpoint.url) else endpoint.path

    def _forwards(self, url: str) -> bool:
        return self._proxied and url.startswith("http:")

    def build_response(self, req: PreparedRequest, resp: Any) -> Response:
        """Return the response without what requests adds for sessions: cookies, history, encoding."""
        response = Response()
        response.status_code = resp.status
        response.headers = CaseInsensitiveDict(resp.headers)
        response.raw = resp
        response.request = req
        return response


def _check_proxy(url: str) -> str:
    # `proxy.example.com:3128` is what many environments hold.
    absolute = str(prepend_scheme_if_needed(url, "http"))  # type: ignore[no-untyped-call]
    parts = urlsplit(absolute)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("proxy")
    return absolute
