"""The options of the relay and the outbox, each refused by its name.

Invariant: an option is tested through Airflow's own configuration.
"""

from __future__ import annotations

from typing import Any

import pytest

from airflow_webhook_notify import config
from airflow_webhook_notify.config import Option
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.retry import Schedule


def put(monkeypatch: pytest.MonkeyPatch, option: Option[Any], text: str) -> None:
    """Set an option as an operator's environment does."""
    monkeypatch.setenv(f"AIRFLOW__WEBHOOK_NOTIFY__{option.name.upper()}", text)


@pytest.mark.parametrize(
    ("option", "default"),
    [
        (config.INTAKE_URL, None),
        (config.RELAY, "internal"),
        (config.RETRY_SCHEDULE, Schedule()),
        (config.RELAY_IN_FLIGHT, 128),
        (config.RELAY_IN_FLIGHT_PER_WEBHOOK, 32),
        (config.LEASE, 60.0),
        (config.RESUME_RATE, 20.0),
        (config.RETENTION, 30.0),
        (config.FAILURE_REPORTS, True),
        (config.GRACE, 30.0),
        (config.CATCH_UP, 24.0),
        (config.WATCH_INTERVAL, 1.0),
    ],
)
def test_defaults(option: Option[Any], default: object) -> None:
    assert option.read() == default
    assert option.describe()["default"] == option.default


@pytest.mark.parametrize(
    ("option", "text", "value"),
    [
        (config.INTAKE_URL, "http://api:8080/", "http://api:8080"),
        (config.INTAKE_URL, "https://airflow.example.com/team", "https://airflow.example.com/team"),
        (config.INTAKE_URL, "http://[::1]:8080", "http://[::1]:8080"),
        (config.RELAY, "external", "external"),
        (config.RETRY_SCHEDULE, "1, 2", Schedule((1, 2))),
        (config.RELAY_IN_FLIGHT, "1", 1),
        (config.RELAY_IN_FLIGHT_PER_WEBHOOK, "1000", 1000),
        (config.LEASE, "5", 5.0),
        (config.RESUME_RATE, "0.1", 0.1),
        (config.RETENTION, "3650", 3650.0),
        (config.FAILURE_REPORTS, "false", False),
        (config.FAILURE_REPORTS, "Yes", True),
        (config.GRACE, "0", 0.0),
        (config.CATCH_UP, "0.5", 0.5),
        (config.WATCH_INTERVAL, "0.2", 0.2),
    ],
)
def test_values(monkeypatch: pytest.MonkeyPatch, option: Option[Any], text: str, value: object) -> None:
    put(monkeypatch, option, text)
    assert option.read() == value


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (config.INTAKE_URL, "api:8080"),
        (config.INTAKE_URL, "ftp://api"),
        (config.INTAKE_URL, "http://"),
        (config.INTAKE_URL, "http://api:0"),
        (config.INTAKE_URL, "http://api:99999"),
        (config.INTAKE_URL, "http://api?x=1"),
        (config.RELAY, "off"),
        (config.RELAY, "Internal"),
        (config.RETRY_SCHEDULE, "5,soon"),
        (config.RELAY_IN_FLIGHT, "0"),
        (config.RELAY_IN_FLIGHT, "1001"),
        (config.RELAY_IN_FLIGHT, "1.5"),
        (config.RELAY_IN_FLIGHT, "-1"),
        (config.RELAY_IN_FLIGHT, "1_0"),
        (config.RELAY_IN_FLIGHT, "٣"),
        (config.RELAY_IN_FLIGHT_PER_WEBHOOK, "many"),
        (config.LEASE, "4.9"),
        (config.LEASE, "3601"),
        (config.RESUME_RATE, "0"),
        (config.RESUME_RATE, "nan"),
        (config.RETENTION, "0"),
        (config.FAILURE_REPORTS, "maybe"),
        (config.GRACE, "601"),
        (config.CATCH_UP, "0"),
        (config.WATCH_INTERVAL, "0.1"),
        (config.RETENTION, "forever"),
    ],
)
def test_a_value_out_of_range_is_refused_by_the_options_name(
    monkeypatch: pytest.MonkeyPatch, option: Option[Any], text: str
) -> None:
    put(monkeypatch, option, text)
    with pytest.raises(ConfigurationError, match=rf"^\[webhook_notify\] {option.name}: "):
        option.read()


def test_an_address_that_is_refused_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, config.INTAKE_URL, "http://admin:hunter2@api:8080")
    with pytest.raises(ConfigurationError) as raised:
        config.INTAKE_URL.read()
    assert "hunter2" not in str(raised.value)


def test_every_option_is_told_to_airflow() -> None:
    options = [value for value in vars(config).values() if isinstance(value, Option)]
    assert set(config.OPTIONS) == set(options)
