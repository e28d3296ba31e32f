"""Durations as people write them."""

from __future__ import annotations

import argparse

import pytest

from airflow_webhook_notify.cli.durations import parse_age, parse_duration, parse_moment
from airflow_webhook_notify.moments import show_moment, write_moment


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


def test_a_time_that_no_calendar_has_is_shown_as_it_is() -> None:
    assert show_moment(2**62) == f"{2**62} ms"
    assert write_moment(2**62) is None


def test_programs_get_milliseconds_in_iso_8601() -> None:
    assert write_moment(1_590_591_051_225) == "2020-05-27T14:50:51.225Z"
    assert write_moment(None) is None


def test_an_age_may_be_as_long_as_the_retention() -> None:
    assert parse_age("3650d") == 315_360_000_000
    for text in ("3651d", "soon", "-1d"):
        with pytest.raises(argparse.ArgumentTypeError, match="such as 12h or 30d"):
            parse_age(text)


NOW = 1_700_000_000_000


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", NOW - 90_000),
        ("2d", NOW - 172_800_000),
        ("2020-05-27", 1_590_537_600_000),
        ("2020-05-27T14:50:51", 1_590_591_051_000),
        ("2020-05-27 14:50:51 UTC", 1_590_591_051_000),
        ("2020-05-27T14:50:51.225Z", 1_590_591_051_225),
        ("2020-05-27T16:50:51+02:00", 1_590_591_051_000),
        ("1969-12-31T23:59:59Z", -1000),
    ],
)
def test_a_moment_is_so_long_ago_or_a_date(text: str, moment: int) -> None:
    parsed = parse_moment(text)
    assert (parsed.at(NOW), str(parsed)) == (moment, text)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "3651d", "999999999d", "2020-13-01", "-1d", "1590591051", "0001-01-01T00:00:00+23:00x"]
)
def test_any_other_text_is_no_moment(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="such as 15m, 24h or 7d, or a date, such as 2026-05-27"):
        parse_moment(text)


@pytest.mark.parametrize("moment", [0, 1_590_591_051_225, 253_402_300_799_999])
def test_what_is_shown_is_understood(moment: int) -> None:
    assert parse_moment(write_moment(moment) or "").at(NOW) == moment
    assert parse_moment(show_moment(moment)).at(NOW) == moment // 1000 * 1000
