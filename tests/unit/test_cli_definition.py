"""The name of our group beside other providers' commands."""

from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.cli.cli_config import ActionCommand, GroupCommand
from airflow.providers_manager import ProvidersManager

from airflow_webhook_notify.cli import definition

Function = Callable[[], Any]


@pytest.fixture(autouse=True)
def _undecided() -> Iterator[None]:
    definition._group_name.cache_clear()
    yield
    definition._group_name.cache_clear()


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the functions that Airflow found in the providers."""

    def set_functions(*functions: Function) -> None:
        monkeypatch.setattr(ProvidersManager, "cli_command_functions", {*functions, definition.get_cli_commands})

    return set_functions


def group(name: str) -> GroupCommand:
    return GroupCommand(name=name, help="", subcommands=[])


def names() -> list[str]:
    return [command.name for command in definition.get_cli_commands()]


def test_the_group_is_webhooks_where_that_is_free(providers: Callable[..., None]) -> None:
    providers(lambda: [group("celery")])
    assert names() == ["webhooks"]


def test_the_group_falls_back_where_another_provider_has_it(providers: Callable[..., None]) -> None:
    providers(lambda: [group("celery")], lambda: [group("webhooks")])
    assert names() == ["webhook-notify"]


def test_the_group_falls_back_where_another_provider_has_a_command_of_that_name(
    providers: Callable[..., None],
) -> None:
    providers(lambda: [ActionCommand(name="webhooks", help="", func=print, args=())])
    assert names() == ["webhook-notify"]


def test_the_group_falls_back_where_airflow_itself_has_it(
    providers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    providers()
    monkeypatch.setattr(definition, "core_commands", [group("webhooks")])
    assert names() == ["webhook-notify"]


def test_no_commands_are_better_than_a_name_twice(providers: Callable[..., None]) -> None:
    providers(lambda: [group("webhooks"), group("webhook-notify")])
    assert names() == []


def test_another_provider_that_raises_does_not_matter(providers: Callable[..., None]) -> None:
    def broken() -> list[GroupCommand]:
        raise ImportError("no such module")

    providers(broken, lambda: None, lambda: [object()])
    assert names() == ["webhooks"]


@pytest.mark.parametrize("ours_first", [True, False])
def test_a_provider_that_asks_us_back_neither_recurses_nor_gets_our_name(
    ours_first: bool, providers: Callable[..., None]
) -> None:
    def theirs() -> list[GroupCommand]:
        taken = {command.name for command in definition.get_cli_commands()}
        return [group("theirs" if "webhooks" in taken else "webhooks")]

    providers(theirs)
    order: list[Function] = [definition.get_cli_commands, theirs]
    found = [function()[0].name for function in (order if ours_first else reversed(order))]
    assert sorted(found) == sorted(set(found))


def test_the_name_stays_what_was_told_first(providers: Callable[..., None]) -> None:
    providers()
    assert names() == ["webhooks"]
    providers(lambda: [group("webhooks")])
    assert names() == ["webhooks"]


@pytest.mark.parametrize("name", definition.GROUP_NAMES)
def test_help_names_the_group_that_is_there(name: str) -> None:
    built = definition._build_group(name)
    assert built.description is not None
    assert f"airflow {name} add" in built.description
    other = next(other for other in definition.GROUP_NAMES if other != name)
    assert f"airflow {other}" not in str(built)


def test_a_command_tells_its_code_the_group_and_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(definition, "lazy_load_command", lambda _path: seen.append)
    command = next(c for c in definition._build_group("webhook-notify").subcommands if c.name == "rotate-secret")
    namespace = SimpleNamespace()
    command.func(namespace)
    assert seen == [SimpleNamespace(group="webhook-notify", command="rotate-secret")]


@pytest.mark.parametrize(("text", "statuses"), [("200", (200,)), ("500, 500,200", (500, 500, 200))])
def test_statuses_are_one_or_a_sequence(text: str, statuses: tuple[int, ...]) -> None:
    assert definition._statuses(text) == statuses


@pytest.mark.parametrize("text", ["", "100", "600", "2000", "ok", "200,", "200;500", ",".join(["200"] * 101)])
def test_no_other_statuses(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is not a status from 200 to 599"):
        definition._statuses(text)
