"""What a person types: values that must not be seen, and extra headers.

Invariant: no error text repeats a value, since any of them can be a credential.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from getpass import getpass

from airflow_webhook_notify.exceptions import ConfigurationError

#: Stands for "ask for it, or read it from standard input".
FROM_INPUT = "-"
#: Stands for "make a new one".
GENERATED = "generated"


def read_hidden(label: str, value: str) -> str:
    """Return the value; where it is `-`, what is typed without an echo, or the next line of standard input.

    :raises ConfigurationError: where standard input ends before it
    """
    if value != FROM_INPUT:
        return value
    if sys.stdin.isatty():
        return getpass(f"{label}: ")
    line = sys.stdin.readline()
    if not line:
        raise ConfigurationError(label, "standard input has no line for it; give each `-` a line of its own")
    return line.rstrip("\r\n")


def parse_headers(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return names and values of headers written as `Name: value`.

    :raises ConfigurationError: where there is no colon
    """
    headers = []
    for text in texts:
        name, colon, value = text.partition(":")
        if not colon:
            raise ConfigurationError("--header", "there is no colon in it; write it as 'Name: value'")
        headers.append((name.strip(), value.strip()))
    return tuple(headers)
