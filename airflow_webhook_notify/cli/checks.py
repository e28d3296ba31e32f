"""What `doctor` finds, and what it checks of this installation.

Invariant: a check never raises what a person could mend: that is its finding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from airflow_webhook_notify import config, connection
from airflow_webhook_notify.cli.definition import GROUP_NAMES
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.names import SECTION
from airflow_webhook_notify.version import DISTRIBUTION, package_version


class State(str, Enum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    MEND = "mend"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the doctor.

    :param name: what was looked at
    :param detail: what was found, and what to do where it is not ok
    """

    name: str
    state: State
    detail: str


def check_installation(group: str) -> Iterator[Check]:
    """Check the package: that Airflow knows it, its options, and every webhook that can be listed."""
    yield _check_provider()
    yield _check_group(group)
    yield from _check_options()
    yield _check_fernet_key()
    yield from _check_webhooks()


def _check_provider() -> Check:
    from airflow import __version__ as airflow_version
    from airflow.providers_manager import ProvidersManager

    version = f"{package_version()} on Airflow {airflow_version}"
    if DISTRIBUTION in ProvidersManager().providers:  # type: ignore[no-untyped-call]
        return Check("provider", State.OK, version)
    return Check("provider", State.MEND, f"{version}, but Airflow does not list it: install it again with pip")


def _check_group(group: str) -> Check:
    detail = f"airflow {group}"
    if group != GROUP_NAMES[0]:
        detail += f", since another provider has the name {GROUP_NAMES[0]}"
    return Check("commands", State.OK, detail)


def _check_options() -> Iterator[Check]:
    bad = list(_find_bad_options())
    yield from bad
    if not bad:
        yield Check(f"[{SECTION}]", State.OK, "all options can be used")


def _find_bad_options() -> Iterator[Check]:
    for option in config.OPTIONS:
        try:
            option.read()
        except ConfigurationError as error:
            yield Check(f"[{SECTION}] {option.name}", State.MEND, error.problem)


def _check_fernet_key() -> Check:
    from airflow.configuration import conf

    if conf.get("core", "fernet_key", fallback=""):
        return Check("[core] fernet_key", State.OK, "set: Airflow encrypts signing secrets that it stores")
    return Check(
        "[core] fernet_key", State.WARNING, "not set, so signing secrets are stored in clear; set one and rotate them"
    )


def _check_webhooks() -> Iterator[Check]:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        listed = connection.list_webhooks()
    except SQLAlchemyError as error:
        yield Check("metadata database", State.MEND, f"can't be used ({type(error).__name__}): run `airflow db check`")
        return
    yield Check("webhooks", State.OK, f"{len(listed)} in the metadata database and the environment")
    for item in listed:
        if item.problem:
            yield Check(f"webhook {item.id}", State.MEND, item.problem)
