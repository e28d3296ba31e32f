"""What a person types."""

from __future__ import annotations

import io

import pytest

from airflow_webhook_notify.cli import inputs
from airflow_webhook_notify.exceptions import ConfigurationError


def test_a_value_is_taken_as_it_is() -> None:
    assert inputs.read_hidden("Signing secret", " whsec_x ") == " whsec_x "


def test_each_dash_takes_a_line_of_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("Bearer a b \r\nwhsec_x"))
    assert inputs.read_hidden("Authorization", "-") == "Bearer a b "
    assert inputs.read_hidden("Signing secret", "-") == "whsec_x"
    with pytest.raises(ConfigurationError, match="Signing secret: standard input has no line for it"):
        inputs.read_hidden("Signing secret", "-")


def test_a_terminal_is_asked_without_an_echo(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    asked: list[str] = []
    monkeypatch.setattr("sys.stdin", Terminal("never read"))
    # A pseudo-terminal would show no more: getpass is Python's own.

    def type_in(prompt: str) -> str:
        asked.append(prompt)
        return "typed"

    monkeypatch.setattr(inputs, "getpass", type_in)
    assert inputs.read_hidden("Signing secret", "-") == "typed"
    assert asked == ["Signing secret: "]


def test_headers_are_split_at_the_first_colon() -> None:
    assert inputs.parse_headers(["X-Team: data", "X-Url:https://a:1/"]) == (
        ("X-Team", "data"),
        ("X-Url", "https://a:1/"),
    )


def test_a_header_without_a_colon_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as error:
        inputs.parse_headers(["s3cr3t"])
    assert str(error.value) == "--header: there is no colon in it; write it as 'Name: value'"
