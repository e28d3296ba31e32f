"""A DAG author's data becomes JSON of bounded size, whatever it is.

Invariant: nothing raises, and each place that was cut or left out says so where it stood.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import pathlib
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_webhook_notify.custom import CUT, MAX_DEPTH, Sanitizer, cap_text


def plain(text: str, _key: str | None) -> str:
    return text


def masking(text: str, key: str | None) -> str:
    return "***" if key and "password" in key else text.replace("hunter2", "***")


def sanitize(value: Any, limit: int = 48 * 1024) -> tuple[Any, list[str]]:
    sanitizer = Sanitizer(plain, limit)
    return sanitizer.sanitize(value, path="data"), sanitizer.problems


class Color(enum.Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (None, None),
        (True, True),
        (3, 3),
        (2.5, 2.5),
        ("☃", "☃"),
        (datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc), "2026-01-02T03:04:05+00:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.timedelta(minutes=1.5), 90.0),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        (Color.RED, "red"),
        ((1, 2), [1, 2]),
        ({"a": {"b": [1, {"c": 2}]}}, {"a": {"b": [1, {"c": 2}]}}),
        ({1: "one"}, {"1": "one"}),
    ],
)
def test_a_value_with_a_faithful_form_is_sent_without_a_word(value: Any, sent: Any) -> None:
    assert sanitize(value) == (sent, [])


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (float("nan"), "is nan"),
        (float("inf"), "is inf"),
        (b"raw", "has the type bytes, which JSON has no form for"),
        (object(), "has the type object, which JSON has no form for"),
        (10**30, "is an integer of more than 64 bits"),
        pytest.param(10**5000, "is an integer of more than 64 bits", id="huge"),
    ],
)
def test_a_value_without_one_is_left_out_in_plain_sight(value: Any, why: str) -> None:
    assert sanitize({"a": value, "b": 1}) == (
        {"a": f"(left out: {why})", "b": 1},
        [f"data.a is left out: it {why}"],
    )


def test_a_cycle_is_left_out_where_it_closes() -> None:
    cycle: dict[str, Any] = {"n": 1}
    cycle["self"] = cycle
    sent, problems = sanitize(cycle)
    assert sent == {"n": 1, "self": "(left out: contains itself)"}
    assert problems == ["data.self is left out: it contains itself"]


def test_one_object_in_two_places_is_no_cycle() -> None:
    shared = [1]
    assert sanitize({"a": shared, "b": shared}) == ({"a": [1], "b": [1]}, [])


def test_depth_is_bounded() -> None:
    deep: Any = 0
    for _ in range(5000):
        deep = [deep]
    sent, problems = sanitize(deep)
    assert json.dumps(sent).count("[") == MAX_DEPTH
    assert problems == [f"data{'[0]' * MAX_DEPTH} is left out: it is over {MAX_DEPTH} levels deep"]


def test_ten_mebibytes_of_text_are_cut_to_four_kibibytes() -> None:
    sent, problems = sanitize({"a": "x" * (10 * 2**20)})
    assert len(sent["a"].encode()) == 4096
    assert sent["a"].endswith(CUT)
    assert problems == ["data.a is cut after 4096 bytes"]


def test_a_list_of_ten_mebibytes_is_cut_to_the_limit() -> None:
    sent, problems = sanitize({"first": 1, "a": list(range(2**21)), "last": 1})
    assert len(json.dumps(sent)) <= 48 * 1024 + 64
    assert sent["a"][:3] == [0, 1, 2]
    assert "last" not in sent
    assert problems[0] == f"data.a is cut: all of it would take over {48 * 1024} bytes"


def test_half_an_emoji_does_not_reach_the_wire() -> None:
    assert sanitize("a\ud83d")[0] == "a?"


def test_what_the_masker_knows_is_masked_before_it_is_cut() -> None:
    sanitizer = Sanitizer(masking, 1024)
    text = "x" * 4090 + "hunter2"
    sent = sanitizer.sanitize({"a": text, "password": 1234, "b": "hunter2!", "hunter2": 1}, path="data")
    assert "hunter" not in json.dumps(sent)


def test_masking_reaches_every_depth_and_numbers_too() -> None:
    sanitizer = Sanitizer(masking, 1024)
    value = {"a": [[[[[[[{"password": 1234, "b": ["hunter2"]}]]]]]]]}
    assert json.dumps(sanitizer.sanitize(value, path="data")) == (
        '{"a": [[[[[[[{"password": "***", "b": ["***"]}]]]]]]]}'
    )


def test_the_problems_that_are_named_are_few() -> None:
    _, problems = sanitize([b""] * 1000)
    assert len(problems) == 5


def test_a_text_at_the_limit_is_whole() -> None:
    assert cap_text("é" * 2048) == ("é" * 2048, False)
    cut, was_cut = cap_text("é" * 2049)
    assert was_cut
    assert cut == "é" * ((4096 - len(CUT.encode())) // 2) + CUT


_ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(alphabet=st.characters())
    | st.binary()
    | st.decimals()
    | st.datetimes(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers() | st.binary(), inner) | st.tuples(inner),
    max_leaves=40,
)


@given(_ANYTHING)
def test_anything_becomes_json_of_bounded_size(value: Any) -> None:
    sent, _ = sanitize(value, limit=512)
    assert len(json.dumps(sent, allow_nan=False).encode()) < 20_000
