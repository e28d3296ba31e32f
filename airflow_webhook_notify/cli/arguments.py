"""Arguments that several commands have, and those of `edit` and `delete`.

Invariant: an option of `edit` that is left out is None, so that what nobody named stays as it is.
"""

from __future__ import annotations

import math
from argparse import ArgumentTypeError, BooleanOptionalAction
from typing import Any

from airflow.cli.cli_config import ARG_OUTPUT, ARG_VERBOSE, ARG_YES, Arg

from airflow_webhook_notify.models import Level
from airflow_webhook_notify.topics import JOB_TOPICS


def arg(*flags: str, **settings: Any) -> Arg:
    """Return an argument, as argparse takes it."""
    return Arg(flags, **settings)  # type: ignore[no-untyped-call]


def many(flag: str, metavar: str, text: str) -> Arg:
    """Return an option that can be given several times."""
    return arg(flag, action="append", default=[], metavar=metavar, help=f"{text} Repeatable.")


def seconds(text: str) -> float:
    """Return a number of seconds from 0 to 3600.

    :raises ArgumentTypeError: for anything else
    """
    value = _float(text)
    if not 0 <= value <= 3600:
        raise ArgumentTypeError(f"{text!r} is not a number of seconds from 0 to 3600")
    return value


def number(text: str) -> float:
    """Return a number.

    :raises ArgumentTypeError: for anything else
    """
    value = _float(text)
    if not math.isfinite(value):
        raise ArgumentTypeError(f"{text!r} is not a number")
    return value


def _float(text: str) -> float:
    """Return a number; NaN, which is within no bounds, for anything else."""
    try:
        return float(text)
    except ValueError:
        return math.nan


FROM_INPUT = "- asks for it, or reads it from standard input, so that no shell history or process list shows it."
CONN_ID = arg("conn_id", metavar="CONN_ID", help="The webhook's connection id.")


def _number(text: str) -> float | str:
    """Return a number; an empty text stays one."""
    try:
        return float(text) if text.strip() else ""
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number; '' is none") from None


def _several(flag: str, metavar: str, text: str) -> Arg:
    return arg(
        flag, action="append", metavar=metavar, help=f"{text} Repeatable: all that there are to be; '' for none."
    )


def _switch(flag: str, text: str) -> Arg:
    return arg(flag, action=BooleanOptionalAction, help=text)


DELETE_ARGS = (CONN_ID, ARG_YES, ARG_OUTPUT, ARG_VERBOSE)
EDIT_ARGS = (
    CONN_ID,
    arg("--endpoint", metavar="URL", help="The HTTPS URL that events are sent to."),
    arg("--nickname", metavar="NAME", help="What people call it; '' for its id."),
    arg("--authorization", metavar="VALUE", help=f"The Authorization header; '' for none. {FROM_INPUT}"),
    _several("--topic", "TOPIC", f"What it hears of: {', '.join(JOB_TOPICS)}."),
    _several("--dag", "GLOB", "DAGs it subscribes to."),
    _several("--tag", "GLOB", "DAG tags it subscribes to."),
    arg("--level", choices=[level.value for level in Level], help="Which job executions a subscription hears of."),
    _switch("--retries", "Whether a subscription hears of each failed try that Airflow tries again, too."),
    arg("--roll-up", type=_number, metavar="S", help="Seconds to gather a run's failed tasks; '' for no time."),
    arg("--rate", type=_number, metavar="N", help="Events a minute at most; '' for no limit."),
    arg("--heartbeat", type=_number, metavar="MINUTES", help="Minutes between two pings; '' for none."),
    many("--header", "'NAME: VALUE'", "Extra request header; the others stay."),
    many("--remove-header", "NAME", "Extra request header to send no more."),
    arg("--timeout", type=_number, metavar="S", help="Seconds that one attempt may take in all."),
    arg("--connect-timeout", type=_number, metavar="S", help="Seconds until the connection must stand."),
    _switch("--verify", "Whether the endpoint's certificate is verified."),
    _switch("--allow-http", "Accept an http endpoint, without TLS: for tests on one machine."),
    arg("--ca-bundle", metavar="PATH", help="PEM file with the authorities to trust; '' for the public ones."),
    arg("--proxy", metavar="URL", help="HTTP proxy to send through; '' for that of the environment."),
    ARG_OUTPUT,
    ARG_VERBOSE,
)
