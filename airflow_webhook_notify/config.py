"""The `[webhook_notify]` options, each defined once.

Invariant: importing this module imports no Airflow, since the provider info that every process loads is built
from it; an option is read, parsed and refused in one place, and a refusal names the option.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.names import SECTION
from airflow_webhook_notify.retry import parse_schedule

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
T = TypeVar("T")


@dataclass(frozen=True)
class Option(Generic[T]):
    """One option of the section.

    :param parse: turns the text of `airflow.cfg` into the value; raises ValueError with what to put there
    """

    name: str
    description: str
    parse: Callable[[str], T]
    default: str = ""
    example: str | None = None
    type: str = "string"
    version_added: str = "0.1.0"

    def read(self) -> T:
        """Return the option's value in this process.

        :raises ConfigurationError: where its text can't be used
        """
        from airflow.configuration import conf

        # The fallback serves the moment between installing the package and restarting Airflow.
        text = conf.get(SECTION, self.name, fallback=self.default) or self.default
        try:
            return self.parse(text.strip())
        except ValueError as error:
            raise ConfigurationError(f"[{SECTION}] {self.name}", str(error)) from None

    def describe(self) -> dict[str, object]:
        """Return the option as Airflow's provider info wants it."""
        return {
            "description": self.description,
            "version_added": self.version_added,
            "type": self.type,
            "example": self.example,
            "default": self.default,
        }


def _parse_networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(f"{error}; give networks separated by commas, such as 10.0.0.0/8,fd00::/8") from None


def _number(what: str, low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"{text!r} is not a number of {what} from {low:g} to {high:g}")
        return value

    return parse


def _seconds(low: float, high: float) -> Callable[[str], float]:
    return _number("seconds", low, high)


def _whole(what: str, low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        # `int` takes other scripts' digits, underscores and a sign, which nobody means in a number of things.
        value = int(text) if text.isascii() and text.isdigit() else low - 1
        if not low <= value <= high:
            raise ValueError(f"{text!r} is not a whole number of {what} from {low} to {high}")
        return value

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(f"{text!r} is not one of {', '.join(words)}")
        return text

    return parse


def _flag(text: str) -> bool:
    known = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
    if text.lower() not in known:
        raise ValueError(f"{text!r} is not True or False")
    return known[text.lower()]


def _parse_address(text: str) -> str | None:
    """Return the address of an API server without a slash at its end; None where none is given."""
    if not text:
        return None
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port)
    except ValueError:
        usable = False
    if not usable or parts.username or parts.password or parts.query or parts.fragment:
        # The text is not shown: a URL may hold a password.
        raise ValueError("is not an address; give scheme, host and port, such as http://airflow-api-server:8080")
    return text.rstrip("/")


ORGANIZATION_ID = Option(
    name="organization_id",
    description="The name of this Airflow deployment in every event (`OrganizationId`). It is part of the event "
    "ids, so set it once, and to a different name in each deployment that shares an endpoint. "
    "Default: the host of `[api] base_url`, else `airflow`.",
    parse=str,
    example="data-platform-production",
)
ALLOWED_NETWORKS = Option(
    name="allowed_networks",
    description="Networks that webhooks may reach although their addresses are private, loopback or reserved: "
    "CIDR blocks separated by commas. Everything public is allowed without it.",
    parse=_parse_networks,
    example="10.20.0.0/16,127.0.0.0/8",
)
DIRECT_DEADLINE = Option(
    name="direct_deadline",
    description="Seconds that one direct delivery, its tries and the waits between them, may take in a task or "
    "DAG processor. Stay below the 10 s that all callbacks of one process share.",
    parse=_seconds(0.1, 10),
    default="8",
    example="5",
    type="float",
)
INTAKE_URL = Option(
    name="intake_url",
    description="Address of an API server, as tasks reach it: callbacks hand their events to it. "
    "Default: that of `[core] execution_api_server_url`, else `[api] base_url`.",
    parse=_parse_address,
    example="http://airflow-api-server:8080",
)
RELAY = Option(
    name="relay",
    description="What sends the deliveries: `internal`, each API server; or `external`, only the processes that run "
    "`airflow webhooks relay`.",
    parse=_one_of("internal", "external"),
    default="internal",
    example="external",
)
RETRY_SCHEDULE = Option(
    name="retry_schedule",
    description="Seconds to wait after the first, second, … failed attempt, separated by commas; each wait varies by "
    "a fifth. After one attempt more than there are waits, the delivery is a dead letter.",
    parse=parse_schedule,
    default="5,300,1800,7200,18000,36000,50400,72000,86400",
    example="5,60,600,3600",
)
RELAY_IN_FLIGHT = Option(
    name="relay_in_flight",
    description="How many attempts one relay makes at the same time.",
    parse=_whole("attempts", 1, 1000),
    default="128",
    example="64",
    type="integer",
)
RELAY_IN_FLIGHT_PER_WEBHOOK = Option(
    name="relay_in_flight_per_webhook",
    description="How many attempts one relay makes at the same time for one webhook.",
    parse=_whole("attempts", 1, 1000),
    default="32",
    example="8",
    type="integer",
)
LEASE = Option(
    name="lease",
    description="Seconds for which a delivery belongs to the relay that claimed it. Where a relay was killed, what it "
    "was sending is tried again after that time. Stay above the longest timeout of any webhook.",
    parse=_seconds(5, 3600),
    default="60",
    example="120",
    type="float",
)
RESUME_RATE = Option(
    name="resume_rate",
    description="Of a webhook that was resumed: how many of the deliveries that had waited are sent a second.",
    parse=_number("deliveries a second", 0.1, 10000),
    default="20",
    example="100",
    type="float",
)
RETENTION = Option(
    name="retention",
    description="Days for which the delivery log keeps what is not pending any more.",
    parse=_number("days", 1, 3650),
    default="30",
    example="90",
    type="float",
)

FAILURE_REPORTS = Option(
    name="failure_reports",
    description="Whether a task that fails leaves its message and exit status in an XCom (`webhook_notify_failure`), "
    "for the events of subscribed webhooks. This registers a listener, and where there is one, Airflow refuses "
    "DAGs that use `end_from_trigger=True`: set it to False where you have such.",
    parse=_flag,
    default="True",
    example="False",
    type="boolean",
)
GRACE = Option(
    name="grace",
    description="Seconds for which the event of a failed task waits for the task's own report of what happened.",
    parse=_seconds(0, 600),
    default="30",
    example="10",
    type="float",
)
CATCH_UP = Option(
    name="catch_up",
    description="Hours after which what happened while no watcher ran is skipped, and the log says so.",
    parse=_number("hours", 0.1, 24 * 30),
    default="24",
    example="6",
    type="float",
)
WATCH_INTERVAL = Option(
    name="watch_interval",
    description="Seconds from one look of the watcher at the metadata database to the next.",
    parse=_seconds(0.2, 60),
    default="1",
    example="5",
    type="float",
)

OPTIONS: tuple[Option[Any], ...] = (
    ORGANIZATION_ID,
    ALLOWED_NETWORKS,
    DIRECT_DEADLINE,
    INTAKE_URL,
    RELAY,
    RETRY_SCHEDULE,
    RELAY_IN_FLIGHT,
    RELAY_IN_FLIGHT_PER_WEBHOOK,
    LEASE,
    RESUME_RATE,
    RETENTION,
    FAILURE_REPORTS,
    GRACE,
    CATCH_UP,
    WATCH_INTERVAL,
)


def organization_id() -> str:
    """Return the deployment's name, see :data:`ORGANIZATION_ID`."""
    from airflow.configuration import conf

    named = ORGANIZATION_ID.read()
    if named:
        return named
    host = urlsplit(conf.get("api", "base_url", fallback="") or "").hostname
    return host if host and host != "localhost" else "airflow"


def describe_section() -> dict[str, object]:
    """Return the section as Airflow's provider info wants it."""
    return {
        SECTION: {
            "description": "Signed webhooks that tell other systems when jobs start, succeed or fail.",
            "options": {option.name: option.describe() for option in OPTIONS},
        }
    }
