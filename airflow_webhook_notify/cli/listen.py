"""The `listen` command: a receiver on this machine that prints what arrives.

Invariant: what arrived is printed whole, verified or not, save the values of headers that can be credentials.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Iterator
from types import FrameType
from typing import TYPE_CHECKING

from airflow_webhook_notify import connection, signing
from airflow_webhook_notify.cli import inputs, terminal
from airflow_webhook_notify.cli.command import command
from airflow_webhook_notify.cli.receiver import Behavior, Received, Receiver
from airflow_webhook_notify.connection_form import SIGNING_SECRET

if TYPE_CHECKING:
    from rich.text import Text

# All other headers are "present": a webhook's extra headers often carry an API key.
_SHOWN_HEADERS = {
    "accept",
    "accept-encoding",
    "connection",
    "content-length",
    "content-type",
    "host",
    "user-agent",
    signing.ID_HEADER,
    signing.TIMESTAMP_HEADER,
    signing.SIGNATURE_HEADER,
    signing.HUB_HEADER.lower(),
    signing.GITHUB_HEADER.lower(),
}


@command
def webhooks_listen(args: Namespace) -> None:
    """Print what arrives until `--count` requests came or a signal ends it."""
    done = threading.Event()
    printer = _Printer(args.output, count=args.count, done=done)
    behavior = Behavior(_secrets_from(args), args.status, args.delay)
    try:
        receiver = Receiver(args.host, args.port, behavior, printer.on_received)
    except OSError as error:
        terminal.fail(
            f"Can't listen on {args.host} port {args.port}: {error.strerror}; choose another --host or --port"
        )
    with _until_signal(done):
        printer.on_listening(receiver.url)
        receiver.start()
        done.wait()
        receiver.stop()


def _secrets_from(args: Namespace) -> tuple[str, ...]:
    secrets = [inputs.read_hidden(SIGNING_SECRET, value) for value in args.secret]
    if args.webhook:
        secrets += connection.get_webhook(args.webhook).secrets_at(int(time.time() * 1000))
    for secret in secrets:
        signing.check_secret(secret)
    return tuple(secrets)


@contextlib.contextmanager
def _until_signal(done: threading.Event) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM set `done`."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_signal(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signal module's signature
        done.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Printer:
    """Prints each request as `--output` asks, and says when the last one came."""

    def __init__(self, output: str, *, count: int | None, done: threading.Event) -> None:
        self._output = output
        self._left = count
        self._done = done

    def on_listening(self, url: str) -> None:
        if self._output == "json":
            terminal.say(json.dumps({"url": url}))
            return
        terminal.say(f"Listening on {url}")
        terminal.hint(
            "Ctrl-C ends it. A webhook of this machine reaches it with --allow-http, and with its address in "
            "[webhook_notify] allowed_networks, such as 127.0.0.0/8"
        )

    def on_received(self, received: Received) -> None:
        if self._done.is_set():
            return
        try:
            self._print(received)
        except BrokenPipeError:
            # Whoever read us has enough. Python writes what is left at its end, so there must be a place for it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            self._done.set()
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self._done.set()

    def _print(self, received: Received) -> None:
        if self._output == "json":
            terminal.say(json.dumps(describe(received)))
        else:
            _print_for_people(received)


def describe(received: Received) -> dict[str, object]:
    """Return one request as a line of `--output json` holds it."""
    payload = received.parse_body()
    return {
        "verified": received.verified is not None,
        "dialect": received.verified and received.verified.dialect,
        "id": _header(received, signing.ID_HEADER),
        "topic": _topic_of(payload),
        "headers": dict(_shown_headers(received)),
        "payload": received.body.decode("utf-8", "replace") if payload is None else payload,
        "status": received.status,
        "error": received.error,
    }


def _header(received: Received, wanted: str) -> str | None:
    return next((value for name, value in received.headers if name.lower() == wanted), None)


def _topic_of(payload: object) -> str | None:
    topic = payload.get("Topic") if isinstance(payload, dict) else None
    return topic if isinstance(topic, str) else None


def _shown_headers(received: Received) -> Iterator[tuple[str, str]]:
    for name, value in received.headers:
        yield name.lower(), value if name.lower() in _SHOWN_HEADERS else "present"


def _print_for_people(received: Received) -> None:
    terminal.write_text(_text_of(received))


def _text_of(received: Received) -> Text:
    from rich.text import Text

    payload, proof = received.parse_body(), received.verified
    head = f"verified ({proof.dialect})" if proof else f"NOT VERIFIED: {received.error}"
    text = Text()
    text.append(terminal.one_line(_topic_of(payload) or "(no topic)"), "bold")
    text.append(f"  {terminal.one_line(_header(received, signing.ID_HEADER))}  ")
    text.append(terminal.one_line(head), "green" if proof else "red")
    text.append(f"  answered {received.status}\n")
    for name, value in _shown_headers(received):
        text.append(f"  {terminal.one_line(name)}: {terminal.one_line(value)}\n", "dim")
    return text.append_text(_body_of(received, payload))


def _body_of(received: Received, payload: object | None) -> Text:
    from rich.text import Text

    if payload is None:
        return Text(terminal.printable(received.body.decode("utf-8", "replace")))
    return terminal.json_text(payload)
