"""Real servers on the loopback that tests send to.

Invariant: each is a context manager that leaves no thread, socket or connection behind; what it received is
kept whole, so a test compares values.
"""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Any

from typing_extensions import Self

#: How long anything here waits for what a test expects, in seconds: reached only where a test fails.
PATIENCE = 10.0
_HandlerClass = type[BaseHTTPRequestHandler]
_Tls = ssl.SSLContext | None


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str | None:
        """Return the header's value; None where it did not come.

        :raises AssertionError: where it came more than once
        """
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    @property
    def header_map(self) -> dict[str, str]:
        """The headers by name as sent, for verifiers that want a mapping."""
        return dict(self.headers)


@dataclass(frozen=True)
class Answer:
    """What the server answers.

    :param delay: seconds before the answer begins; ended early when the server stops
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    delay: float = 0.0


class _Listener(ThreadingHTTPServer):
    # Each connection's thread is joined on close; the connections are shut down first.
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, handler: _HandlerClass, tls: _Tls) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.stopping = threading.Event()
        self.open: set[socket.socket] = set()
        self.accepted = 0
        self._lock = threading.Lock()
        super().__init__((host, port), handler)
        if tls is not None:
            # The handshake belongs to the connection's thread: a client that stalls must not stop accepting.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def server_bind(self) -> None:
        # HTTPServer looks up the machine's full name here, which needs a name server.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        with self._lock:
            self.accepted += 1
            self.open.add(connection)
        return connection, address

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: a client that goes away is what many tests are about."""

    def stop(self) -> None:
        self.stopping.set()
        self.shutdown()
        self.hang_up()
        self.server_close()

    def hang_up(self) -> None:
        with self._lock:
            for connection in self.open:
                with contextlib.suppress(OSError):
                    # Not SSLSocket's own shutdown, which forgets the TLS state that the thread still reads.
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Server:
    """What the servers below have in common: a thread that listens from `with` on until it ends."""

    def __init__(self, handler: _HandlerClass, *, host: str, port: int = 0, tls: _Tls = None) -> None:
        self._listener = _Listener(host, port, handler, tls)
        self._scheme = "https" if tls else "http"
        serve, settings = self._listener.serve_forever, {"poll_interval": 0.01}
        self._thread = threading.Thread(target=serve, kwargs=settings, name="server")
        self.host = host
        self.port = self._listener.server_port

    def url(self, path: str = "/hook", *, host: str | None = None) -> str:
        """Return the URL of a path here.

        :param host: a name or another form of the address, in place of the address
        """
        name = host or self.host
        return f"{self._scheme}://{f'[{name}]' if ':' in name else name}:{self.port}{path}"

    @property
    def connections(self) -> int:
        """How many connections were accepted."""
        return self._listener.accepted

    def hang_up(self) -> None:
        """Close every connection that is open, as a server does with idle ones."""
        self._listener.hang_up()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.stop()
        self._thread.join()


class RecordingServer(_Server):
    """Records every request, and answers as told.

    :param answers: given in turn, the last one again and again; a bare int is a status; none given means 200
    :param host: the address to listen on, such as `127.0.0.1` or `::1`, at `port`; 0 for one that is free
    :param tls: a server's context, to speak HTTPS
    """

    def __init__(self, *answers: Answer | int, host: str = "127.0.0.1", port: int = 0, tls: _Tls = None) -> None:
        self._answers = [Answer(answer) if isinstance(answer, int) else answer for answer in answers]
        self._arrived = threading.Condition()
        self._requests: list[Request] = []
        super().__init__(type("Handler", (_RecordingHandler,), {"owner": self}), host=host, port=port, tls=tls)

    def answer_with(self, *answers: Answer | int) -> None:
        """Answer so from now on, as if given at the start."""
        with self._arrived:
            self._answers = [Answer(answer) if isinstance(answer, int) else answer for answer in answers]

    @property
    def requests(self) -> list[Request]:
        """What arrived so far, oldest first."""
        with self._arrived:
            return list(self._requests)

    def wait_for(self, count: int, *, timeout: float = PATIENCE) -> list[Request]:
        """Return the requests once `count` have arrived.

        :raises AssertionError: where they have not within `timeout` seconds
        """
        with self._arrived:
            arrived = self._arrived.wait_for(lambda: len(self._requests) >= count, timeout)
            assert arrived, f"{len(self._requests)} of {count} requests came within {timeout} s"
            return list(self._requests)

    def record(self, request: Request) -> Answer | None:
        """Keep a request and return the answer once it is due; None where the server stops before."""
        with self._arrived:
            self._requests.append(request)
            self._arrived.notify_all()
            answers = self._answers or [Answer()]
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        stopped = answer.delay > 0 and self._listener.stopping.wait(answer.delay)
        return None if stopped else answer


class _RecordingHandler(BaseHTTPRequestHandler):
    owner: RecordingServer
    protocol_version = "HTTP/1.1"
    # Head and body leave in one packet, so a client on a kept connection never waits for an ACK.
    wbufsize = -1
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        answer = self.owner.record(Request(self.command, self.path, tuple(self.headers.items()), body))
        if answer is None:
            return
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if not any(name.lower() in _FRAMING for name, _ in answer.headers):
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _serve  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Stay silent."""


_FRAMING = {"content-length", "transfer-encoding"}


class RawServer:
    """Runs a script on each connection's bare socket, for answers that no decent server gives.

    :param script: gets the connection and an event that is set when the server stops; its OSErrors are
        ignored, and the connection is closed when it returns
    """

    def __init__(self, script: Callable[[socket.socket, threading.Event], None], *, host: str = "127.0.0.1") -> None:
        self._script = script
        self._stopping = threading.Event()
        self._listener = socket.create_server((host, 0))
        # A thread blocked in accept() is not woken by closing the socket, so it looks up now and then.
        self._listener.settimeout(0.02)
        self._threads = [threading.Thread(target=self._accept, name="raw server")]
        self._open: list[socket.socket] = []
        self.host = host
        self.port = int(self._listener.getsockname()[1])
        self.connections = 0

    def url(self, path: str = "/hook", *, scheme: str = "http") -> str:
        """Return the URL of a path here."""
        return f"{scheme}://{self.host}:{self.port}{path}"

    def _accept(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self._listener.accept()
                connection.settimeout(PATIENCE)
                self.connections += 1
                self._open.append(connection)
                self._threads.append(threading.Thread(target=self._run, args=(connection,)))
                self._threads[-1].start()

    def _run(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._script(connection, self._stopping)

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        self._threads[0].join()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        self._listener.close()


def read_request(connection: socket.socket) -> bytes:
    """Return one request, head and body, from a bare connection; empty where the client is gone."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += (more := connection.recv(65536))
        if not more:
            return data
    head, _, body = data.partition(b"\r\n\r\n")
    fields = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    length = next((int(value) for name, _, value in fields if name.lower() == b"content-length"), 0)
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def drip(connection: socket.socket, stopping: threading.Event, data: bytes, *, every: float) -> None:
    """Send the data one byte at a time, `every` so many seconds, until it is out or the server stops."""
    for byte in data:
        connection.sendall(bytes([byte]))
        if stopping.wait(every):
            return


class ProxyServer(_Server):
    """An HTTP proxy: tunnels CONNECT and forwards plain `http`.

    :param credentials: `user:password` that it demands
    :param resolve: where it connects to in place of a name that does not exist, by name
    :param refuse: the status that it answers to everything
    """

    def __init__(
        self,
        *,
        credentials: str | None = None,
        resolve: dict[str, str] | None = None,
        refuse: int | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.asked: list[str] = []
        self.seen_headers: list[tuple[tuple[str, str], ...]] = []
        self._resolve = resolve or {}
        self._refuse = refuse
        self._expected = credentials and "Basic " + base64.b64encode(credentials.encode()).decode()
        super().__init__(type("Handler", (_ProxyHandler,), {"owner": self}), host="127.0.0.1", tls=tls)

    def refusal(self, handler: BaseHTTPRequestHandler) -> int | None:
        """Keep what was asked and return the status to refuse it with; None to do it."""
        self.asked.append(f"{handler.command} {handler.path}")
        self.seen_headers.append(tuple(handler.headers.items()))
        if self._expected and handler.headers.get("Proxy-Authorization") != self._expected:
            return 407
        return self._refuse

    def dial(self, authority: str) -> socket.socket:
        """Return a connection to `host:port`."""
        host, _, port = authority.rpartition(":")
        host = host.strip("[]")
        return socket.create_connection((self._resolve.get(host, host), int(port)), timeout=PATIENCE)


class _ProxyHandler(BaseHTTPRequestHandler):
    owner: ProxyServer
    protocol_version = "HTTP/1.1"

    def do_CONNECT(self) -> None:
        if refusal := self.owner.refusal(self):
            self._answer(refusal)
            return
        with self.owner.dial(self.path) as upstream:
            self._answer(200)
            _pump(self.connection, upstream)
        self.close_connection = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if refusal := self.owner.refusal(self):
            self._answer(refusal)
            return
        authority, _, rest = self.path.removeprefix("http://").partition("/")
        fields = "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        head = f"POST /{rest} HTTP/1.1\r\nConnection: close\r\n{fields}\r\n"
        with self.owner.dial(authority) as upstream:
            upstream.sendall(head.encode("latin-1") + body)
            self.wfile.writelines(_chunks(upstream))
        self.close_connection = True

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if status != 200:
            self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Stay silent."""


def _chunks(source: socket.socket) -> Iterator[bytes]:
    while data := source.recv(65536):
        yield data


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        for data in _chunks(source):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            socket.socket.shutdown(end, socket.SHUT_RDWR)


def _pump(one: socket.socket, other: socket.socket) -> None:
    back = threading.Thread(target=_copy, args=(other, one))
    back.start()
    _copy(one, other)
    back.join()
