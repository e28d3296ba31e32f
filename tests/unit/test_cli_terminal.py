"""What reaches the terminal."""

from __future__ import annotations

import io
import json

import pytest

from airflow_webhook_notify.cli import terminal


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain – äöü 日本 🎉", "plain – äöü 日本 🎉"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("a\rb\tc\x7f\x9b", "a\\rb\\tc\\x7f\\x9b"),
        ("user\u202egpj.exe", "user\\u202egpj.exe"),
        ("half \ud83d", "half \\ud83d"),
        ("two\nlines", "two\nlines"),
    ],
)
def test_what_a_terminal_acts_on_is_shown_as_its_escape(text: str, shown: str) -> None:
    assert terminal.printable(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        ((), "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (["a", "b\n"], "a, b\\n"),
        ("a\nb\x1b", "a\\nb\\x1b"),
    ],
)
def test_a_value_is_shown_in_one_line(value: object, shown: str) -> None:
    assert terminal.one_line(value) == shown


ROWS = [{"id": "007", "names": ["[bold]x[/bold]", ":bug:"], "ok": True}, {"id": "1e5", "names": [], "ok": False}]


def test_json_keeps_the_types(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.write_rows(ROWS, "json")
    assert json.loads(capsys.readouterr().out) == ROWS


def test_yaml_keeps_the_types(capsys: pytest.CaptureFixture[str]) -> None:
    import yaml

    terminal.write_rows(ROWS, "yaml")
    assert yaml.safe_load(capsys.readouterr().out) == ROWS


@pytest.mark.parametrize("output", ["json", "yaml"])
def test_data_formats_hold_no_escape_sequence(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.write_record({"name": "\x1b[2J\u202e"}, output)
    assert capsys.readouterr().out.isascii()


def test_plain_is_aligned_and_takes_texts_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.write_rows(ROWS, "plain")
    assert capsys.readouterr().out.splitlines() == [
        "id   names                  ok",
        "007  [bold]x[/bold], :bug:  yes",
        "1e5  -                      no",
    ]


def test_a_table_takes_texts_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.write_rows(ROWS, "table")
    rows = [[cell.strip() for cell in line.split("|")] for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["id", "names", "ok"]
    assert rows[2:4] == [["007", "[bold]x[/bold], :bug:", "yes"], ["1e5", "-", "no"]]


@pytest.mark.parametrize("output", ["table", "plain"])
def test_no_rows_say_so(output: str, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.write_rows([], output)
    assert capsys.readouterr().out == "No data found\n"


def test_no_rows_are_an_empty_list_for_a_program(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.write_rows([], "json")
    assert json.loads(capsys.readouterr().out) == []


def test_a_failure_is_one_line_on_standard_error_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        terminal.fail("Endpoint URL: is\nbad\x1b")
    assert ended.value.code == 1
    assert capsys.readouterr() == ("", "Error: Endpoint URL: is\\nbad\\x1b\n")


def test_a_terminal_that_takes_ascii_only_gets_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stream)
    terminal.say("Größe")
    stream.seek(0)
    assert stream.read() == "Gr\\xf6\\xdfe\n"


def test_progress_is_for_terminals_only(capsys: pytest.CaptureFixture[str]) -> None:
    with terminal.progress("Deleting", 3) as advance:
        advance(2)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_sees_the_progress_on_standard_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    with terminal.progress("Deleting", 4) as advance:
        advance(4)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Deleting" in captured.err
    assert "100%" in captured.err


def test_an_answer_is_a_sentence_or_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.answer("Done.", {"deleted": 3}, "table")
    assert capsys.readouterr().out == "Done.\n"
    terminal.answer("Done.", {"deleted": 3}, "json")
    assert json.loads(capsys.readouterr().out) == [{"deleted": 3}]
