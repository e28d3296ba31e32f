"""What all commands have in common: quiet logs, errors in one line, and a trace in Airflow's audit log.

Invariant: the audit log, which Airflow builds from the whole command line, gets only what `_SHOWN` names: never a
secret, an Authorization value, a header or a URL.
"""

from __future__ import annotations

import functools
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from airflow_webhook_notify.cli import terminal
from airflow_webhook_notify.cli.definition import GROUP_NAMES
from airflow_webhook_notify.exceptions import WebhookError

Command = Callable[[Namespace], None]

# What a command line may hold that anyone who reads the audit log may see; all other values are masked.
_SHOWN = {
    *("conn_id", "topic", "dag", "tag", "level", "timeout", "allow_http", "overlap", "output", "ping", "verbose"),
    *("webhook", "since", "dead_letters", "older_than", "dry_run", "yes", "reason"),
    *("retries", "roll_up", "rate", "heartbeat", "connect_timeout", "verify", "remove_header"),
}
#: `edit` tells a no from nothing said.
_SWITCHES = ("retries", "verify", "allow_http")
_POSITIONAL = ("conn_id", "delivery_ids")
_NOT_OPTIONS = {"subcommand", "func", "group", "command", *_POSITIONAL}


def command(function: Command) -> Command:
    """Make a command of a function: it logs nothing unless asked, and its errors are one line on standard error."""

    @functools.wraps(function)
    def run(args: Namespace) -> None:
        from airflow.utils.cli import suppress_logs_and_warning
        from airflow.utils.providers_configuration_loader import providers_configuration_loaded

        suppress_logs_and_warning(providers_configuration_loaded(function))(args)

    return _explained(run)


def component(function: Command) -> Command:
    """Make a command that runs until it is stopped: it logs as Airflow's components do, its credentials masked."""

    @functools.wraps(function)
    def run(args: Namespace) -> None:
        from airflow.sdk._shared.secrets_masker import SecretsMasker
        from airflow.utils.providers_configuration_loader import providers_configuration_loaded

        SecretsMasker.enable_log_masking()
        providers_configuration_loaded(_acting(function))(args)

    return _explained(run)


def _explained(function: Command) -> Command:
    """End a command that fails with one line on standard error."""

    @functools.wraps(function)
    def run(args: Namespace) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            function(args)
        except WebhookError as error:
            # The layers below can't know under which name this Airflow has our commands.
            terminal.fail(str(error).replace(f"airflow {GROUP_NAMES[0]} ", f"airflow {args.group} "))
        except SQLAlchemyError as error:
            # Its text can hold the values of the statement.
            terminal.fail(
                f"The metadata database can't be used ({type(error).__name__}): `airflow db check` says whether it "
                "answers, `airflow db migrate` makes its tables"
            )
        except KeyboardInterrupt:
            raise SystemExit(130) from None

    return run


def recorded(function: Command) -> Command:
    """Make a command that Airflow's audit log tells of, as it does of its own commands that change something."""
    return command(_acting(function))


def _acting(function: Command) -> Command:
    @functools.wraps(function)
    def run(args: Namespace) -> None:
        from airflow.utils.cli import action_cli

        with _command_line_of(args):
            action_cli(check_db=False)(function)(args)  # type: ignore[no-untyped-call]

    return run


@contextmanager
def _command_line_of(args: Namespace) -> Iterator[None]:
    """Let `sys.argv`, which `action_cli` stores, be only what may be shown.

    Airflow masks the options of its own `users` and `connections` commands and no others.
    """
    before = sys.argv
    sys.argv = audit_line(args)
    try:
        yield
    finally:
        sys.argv = before


def audit_line(args: Namespace) -> list[str]:
    """Return the command line, rebuilt from its parsed arguments, with what may not be shown masked."""
    line = ["airflow", args.group, args.command]
    for name in _POSITIONAL:
        value = getattr(args, name, None) or []
        line += value if isinstance(value, list) else [value]
    for name, value in sorted(vars(args).items()):
        if value is False and args.command == "edit" and name in _SWITCHES:
            line.append("--no-" + name.replace("_", "-"))
        elif name not in _NOT_OPTIONS and value not in (None, False, "", []):
            line += _option(name, value)
    return line


def _option(name: str, value: object) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if name not in _SHOWN:
        return [flag, "***"]
    if value is True:
        return [flag]
    values = value if isinstance(value, list) else [value]
    return [part for one in values for part in (flag, str(one))]
