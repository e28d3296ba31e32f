"""What `airflow` loads to know our commands: their names, arguments and help.

Invariant: no command of ours ever breaks `airflow`: two groups of one name make every `airflow` command fail, so ours
takes a name that no other provider's commands have, and the code behind a command is imported when it runs.
"""

from __future__ import annotations

import logging
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable
from contextvars import ContextVar
from functools import cache
from typing import Any

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ARG_VERBOSE,
    ARG_YES,
    ActionCommand,
    Arg,
    GroupCommand,
    core_commands,
    lazy_load_command,
)

from airflow_webhook_notify.cli.arguments import CONN_ID, DELETE_ARGS, EDIT_ARGS, FROM_INPUT, number, seconds
from airflow_webhook_notify.cli.arguments import arg as _arg
from airflow_webhook_notify.cli.arguments import many as _many
from airflow_webhook_notify.cli.durations import parse_age, parse_duration, parse_moment
from airflow_webhook_notify.models import DeliveryState, Level
from airflow_webhook_notify.topics import JOB_TOPICS, OVERDUE, PING

log = logging.getLogger(__name__)

#: The first of these that is free becomes the group's name.
GROUP_NAMES = ("webhooks", "webhook-notify")
#: A sequence of statuses longer than this is a mistake.
_MAX_STATUSES = 100

# Another provider's function may ask ours just as ours asks it.
_asking: ContextVar[bool] = ContextVar("asking", default=False)


def get_cli_commands() -> list[GroupCommand]:
    """Return the group of our commands, under a name that is free."""
    name = GROUP_NAMES[-1] if _asking.get() else _group_name()
    return [_build_group(name)] if name else []


# Kept, so that whoever asks is told the same name that `airflow` gets.
@cache
def _group_name() -> str | None:
    token = _asking.set(True)
    try:
        taken = {command.name for command in core_commands} | _names_of_other_providers()
    finally:
        _asking.reset(token)
    name = next((name for name in GROUP_NAMES if name not in taken), None)
    if name is None:
        log.warning("The webhook commands are left out: other providers define %s", " and ".join(GROUP_NAMES))
    return name


def _names_of_other_providers() -> set[str]:
    from airflow.providers_manager import ProvidersManager

    names: set[str] = set()
    providers = ProvidersManager()  # type: ignore[no-untyped-call]
    for function in list(providers.cli_command_functions):
        if function.__module__ != __name__:
            names |= _names_from(function)
    return names


def _names_from(function: Callable[[], Any]) -> set[str]:
    try:
        return {command.name for command in function()}
    except Exception:
        # Airflow calls it too, and reports what is wrong with it.
        log.debug("The CLI commands of %s can't be read", function.__module__, exc_info=True)
        return set()


def _statuses(text: str) -> tuple[int, ...]:
    """Return the statuses of `500,500,200`.

    :raises ArgumentTypeError: for anything else
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > _MAX_STATUSES or not all(p.isascii() and p.isdigit() and 200 <= int(p[:4]) <= 599 for p in parts):
        raise ArgumentTypeError(f"{text!r} is not a status from 200 to 599, or several separated by commas")
    return tuple(int(part) for part in parts)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
            raise ArgumentTypeError(f"{text!r} is not a whole number from {low} to {high}")
        return int(text)

    return parse


def _id(text: str) -> str:
    # A byte that is no UTF-8 comes as half a character, which no database takes.
    if not text or not text.isprintable():
        raise ArgumentTypeError(f"{text!r} is no id")
    return text


SECRET = _arg(
    "--secret",
    default="generated",
    metavar="VALUE",
    help=f"Signing secret. Default: a generated one, which is shown once. {FROM_INPUT}",
)
ADD_ARGS = (
    CONN_ID,
    _arg("--endpoint", required=True, metavar="URL", help="The HTTPS URL that events are sent to."),
    _arg("--authorization", metavar="VALUE", help=f"Sent verbatim as the Authorization header. {FROM_INPUT}"),
    _many("--topic", "TOPIC", f"What it hears of: {', '.join(JOB_TOPICS)}. Default: all three."),
    _arg("--nickname", default="", metavar="NAME", help="What people call it."),
    _many("--dag", "GLOB", "DAGs it subscribes to, with no change to any DAG file. ! in front excludes."),
    _many("--tag", "GLOB", "DAG tags it subscribes to."),
    _arg(
        "--level",
        choices=[level.value for level in Level],
        default=Level.DAG.value,
        help="Which job executions a subscription hears of. Default: dag.",
    ),
    _arg("--retries", action="store_true", help="A subscription hears of each failed try that is tried again, too."),
    _arg(
        "--roll-up",
        type=number,
        metavar="S",
        help="Seconds for which a subscription gathers the failed tasks of one run into one event.",
    ),
    _arg("--rate", type=number, metavar="N", help="Events a minute that a subscription sends at most; others wait."),
    _arg("--heartbeat", type=number, metavar="MIN", help="Minutes between two pings that say that Airflow is alive."),
    _many("--header", "'NAME: VALUE'", "Extra request header."),
    _arg(
        "--timeout",
        type=seconds,
        default="15",
        metavar="S",
        help="Seconds that one attempt may take in all. Default: 15.",
    ),
    _arg("--allow-http", action="store_true", help="Accept an http endpoint, without TLS: for tests on one machine."),
    _arg("--ca-bundle", metavar="PATH", help="PEM file with the authorities to trust for this endpoint."),
    _arg("--proxy", metavar="URL", help="HTTP proxy to send through. Default: that of the environment."),
    SECRET,
    ARG_OUTPUT,
    ARG_VERBOSE,
)
ROTATE_ARGS = (
    CONN_ID,
    _arg(
        "--overlap",
        type=parse_duration,
        default="24h",
        metavar="DURATION",
        help="How long the old secret stays valid, such as 90s, 15m, 24h or 7d. Default: 24h.",
    ),
    SECRET,
    ARG_OUTPUT,
    ARG_VERBOSE,
)
LISTEN_ARGS = (
    _arg("--host", default="127.0.0.1", help="Address to listen on. Default: 127.0.0.1, this machine only."),
    _arg("--port", type=_whole(0, 65535), default="9999", help="Port to listen on, 0 for any. Default: 9999."),
    _arg(
        "--secret",
        action="append",
        default=[],
        metavar="VALUE",
        help=f"Signing secret to verify with. Repeatable. {FROM_INPUT}",
    ),
    _arg("--webhook", metavar="CONN_ID", help="Verify with the signing secrets of this webhook."),
    _arg(
        "--status",
        type=_statuses,
        default="200",
        metavar="STATUS[,STATUS...]",
        help="What to answer: one status, or one for each request, the last for all that follow. Default: 200.",
    ),
    _arg("--delay", type=seconds, default="0", metavar="S", help="Seconds to wait before each answer."),
    _arg("--count", type=_whole(1, 10**6), metavar="N", help="Stop after N requests."),
    _arg(
        "-o",
        "--output",
        choices=("plain", "json"),
        default="plain",
        help="plain to read, or json: one line for each request, after a line with the url. Default: plain.",
    ),
    ARG_VERBOSE,
)
SUBSCRIPTIONS_ARGS = (
    _arg("dag_id", metavar="DAG_ID", help="The DAG's id."),
    ARG_OUTPUT,
    ARG_VERBOSE,
)
DOCTOR_ARGS = (
    _arg("conn_id", metavar="CONN_ID", nargs="?", help="A webhook to check too, up to a ping."),
    _arg("--no-ping", dest="ping", action="store_false", help="Don't ping the webhook."),
    ARG_OUTPUT,
    ARG_VERBOSE,
)


_WEBHOOK = _arg("--webhook", type=_id, metavar="CONN_ID", help="Only of this webhook.")
_MOMENT = "How long ago, such as 15m, 24h or 7d, or a date, such as 2026-05-27T14:50:51Z."
DELIVERIES_ARGS = (
    _WEBHOOK,
    _arg("--state", choices=[state.value for state in DeliveryState], help="Only in this state."),
    _arg("--topic", choices=[*JOB_TOPICS, OVERDUE, PING], help="Only of this topic."),
    _arg("--dag", type=_id, metavar="DAG_ID", help="Only about this DAG and its tasks."),
    _arg("--run", type=_id, metavar="RUN_ID", help="Only about this run."),
    _arg("--since", type=parse_moment, metavar="WHEN", help=f"Only what was taken in since then. {_MOMENT}"),
    _arg("--until", type=parse_moment, metavar="WHEN", help="Only what was taken in before then."),
    _arg("--limit", type=_whole(1, 1000), default="50", metavar="N", help="How many to list. Default: 50."),
    _arg("--cursor", type=_id, metavar="CURSOR", help="Go on where another list ended, which names it."),
    ARG_OUTPUT,
    ARG_VERBOSE,
)
DELIVERY_ARGS = (
    _arg("delivery_id", metavar="ID", help="The delivery's id, as `deliveries` lists it."),
    ARG_OUTPUT,
    ARG_VERBOSE,
)
REDELIVER_ARGS = (
    _arg("delivery_ids", metavar="ID", nargs="*", help="Deliveries to send again, whatever state they are in."),
    _arg("--dead-letters", action="store_true", help="Send all dead letters again that --since and --webhook name."),
    _arg("--since", type=parse_moment, metavar="WHEN", help=f"Dead letters that were taken in since then. {_MOMENT}"),
    _WEBHOOK,
    ARG_YES,
    ARG_OUTPUT,
    ARG_VERBOSE,
)
PAUSE_ARGS = (
    CONN_ID,
    _arg(
        "--reason",
        type=_id,
        default="by hand",
        metavar="TEXT",
        help="Shown wherever the webhook is shown as paused.",
    ),
    ARG_OUTPUT,
    ARG_VERBOSE,
)
CLEAN_ARGS = (
    _arg(
        "--older-than",
        type=parse_age,
        metavar="DURATION",
        help="Delete what was taken in longer ago than this, such as 30d. Default: [webhook_notify] retention.",
    ),
    _arg("--dry-run", action="store_true", help="Say how many there are, and delete nothing."),
    ARG_YES,
    ARG_OUTPUT,
    ARG_VERBOSE,
)


def _build_group(name: str) -> GroupCommand:
    return GroupCommand(
        name=name,
        help="Tell other systems by signed webhooks when DAGs and tasks start, succeed or fail",
        description="Tell other systems by signed webhooks when DAGs and tasks start, succeed or fail. "
        f"Begin with: airflow {name} add CONN_ID --endpoint URL",
        subcommands=[
            _command(name, "add", "Make a webhook and its signing secret", ADD_ARGS),
            _command(name, "edit", "Change what the options name of a webhook, and nothing else", EDIT_ARGS),
            _command(name, "delete", "Delete a webhook, and cancel what waits for it", DELETE_ARGS),
            _command(name, "list", "List the webhooks", (ARG_OUTPUT, ARG_VERBOSE)),
            _command(name, "show", "Show one webhook, without its secrets", (CONN_ID, ARG_OUTPUT, ARG_VERBOSE)),
            _command(name, "subscriptions", "Say which webhooks hear of a DAG, and why", SUBSCRIPTIONS_ARGS),
            _command(name, "ping", "Send a ping; succeeds on a 2xx answer", (CONN_ID, ARG_OUTPUT, ARG_VERBOSE)),
            _command(name, "rotate-secret", "Give a webhook a new signing secret", ROTATE_ARGS),
            _command(name, "deliveries", "List deliveries, newest first", DELIVERIES_ARGS),
            _command(name, "delivery", "Show one delivery, its payload and its attempts", DELIVERY_ARGS),
            _command(name, "redeliver", "Send deliveries again", REDELIVER_ARGS),
            _command(name, "pause", "Let a webhook's deliveries wait", PAUSE_ARGS),
            _command(name, "resume", "Let the deliveries of a paused webhook go", (CONN_ID, ARG_OUTPUT, ARG_VERBOSE)),
            _command(name, "clean", "Delete old deliveries from the log", CLEAN_ARGS),
            _command(name, "relay", "Run a relay, which sends the deliveries, until it is stopped", (ARG_VERBOSE,)),
            _command(name, "listen", "Receive, verify and print webhooks on this machine", LISTEN_ARGS),
            _command(name, "doctor", "Check this installation and a webhook, and say what to mend", DOCTOR_ARGS),
        ],
    )


_FUNCTIONS = {
    "add": "webhooks.webhooks_add",
    "edit": "changes.webhooks_edit",
    "delete": "changes.webhooks_delete",
    "list": "webhooks.webhooks_list",
    "show": "webhooks.webhooks_show",
    "subscriptions": "subscriptions.webhooks_subscriptions",
    "ping": "webhooks.webhooks_ping",
    "rotate-secret": "webhooks.webhooks_rotate_secret",
    "deliveries": "deliveries.webhooks_deliveries",
    "delivery": "deliveries.webhooks_delivery",
    "redeliver": "upkeep.webhooks_redeliver",
    "pause": "upkeep.webhooks_pause",
    "resume": "upkeep.webhooks_resume",
    "clean": "upkeep.webhooks_clean",
    "relay": "relay.webhooks_relay",
    "listen": "listen.webhooks_listen",
    "doctor": "doctor.webhooks_doctor",
}


def _command(group: str, name: str, text: str, args: tuple[Arg, ...]) -> ActionCommand:
    run = lazy_load_command(f"airflow_webhook_notify.cli.{_FUNCTIONS[name]}")

    def command(namespace: Namespace) -> None:
        # What a command prints about other commands must name the group that this Airflow has.
        namespace.group, namespace.command = group, name
        run(namespace)

    return ActionCommand(name=name, help=text, func=command, args=args)
