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


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise ValueError(f"{text!r} is not a number of seconds from {low:g} to {high:g}")
        return value

    return parse


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

OPTIONS: tuple[Option[Any], ...] = (ORGANIZATION_ID, ALLOWED_NETWORKS, DIRECT_DEADLINE)


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
