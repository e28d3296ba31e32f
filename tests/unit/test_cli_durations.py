"""Durations as people write them."""

from __future__ import annotations

import argparse

import pytest

from airflow_webhook_notify.cli.durations import parse_duration, show_moment


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [("0s", 0), ("90s", 90_000), ("15m", 900_000), ("24h", 86_400_000), ("7d", 604_800_000), (" 1h ", 3_600_000)],
)
def test_a_number_and_a_unit_is_a_duration(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize("text", ["", "24", "h", "-1h", "1.5h", "1 h", "1w", "1h30m", "٣h", "1H", "9999999999s"])
def test_any_other_text_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="such as 90s, 15m, 24h or 7d"):
        parse_duration(text)


def test_more_than_a_year_is_refused() -> None:
    assert parse_duration("366d") == 31_622_400_000
    with pytest.raises(argparse.ArgumentTypeError, match="'367d' is longer than a year"):
        parse_duration("367d")


def test_a_moment_is_shown_in_utc() -> None:
    assert show_moment(1_590_591_051_225) == "2020-05-27 14:50:51 UTC"
