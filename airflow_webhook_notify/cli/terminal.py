"""What the commands write, and where.

Invariant: no character that a terminal acts on reaches it from a value, wherever that value comes from; answers go to
standard output and everything else to standard error.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

if TYPE_CHECKING:
    from rich.text import Text

Row = Mapping[str, object]


def printable(text: str) -> str:
    """Return the text with every character that shows nothing or commands the terminal written as its escape.

    Line feeds stay. Not only control characters: a bidirectional override can make one text look like another.
    """
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def one_line(value: object) -> str:
    """Return the value as one printable line."""
    if value is None or value in ((), []):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return ", ".join(one_line(part) for part in value)
    return printable(str(value)).replace("\n", "\\n")


def amount(number: int, word: str) -> str:
    """Return how many there are of something, such as `2 deliveries`."""
    if number == 1:
        return f"1 {word}"
    return f"{number:,} {word.removesuffix('y')}ies" if word.endswith("y") else f"{number:,} {word}s"


def say(text: str) -> None:
    """Write the text, made printable, as a line of the answer."""
    _write(sys.stdout, printable(text))


def write_styled(text: str) -> None:
    """Write a text that is printable but for our own styles."""
    _write(sys.stdout, text)


def write_text(text: Text) -> None:
    """Write a text in our own styles whose characters are printable; its lines are never broken, so can be copied."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False, markup=False, emoji=False)
    with console.capture() as captured:
        console.print(text)
    write_styled(captured.get().rstrip("\n") + "\n")


def json_text(value: object) -> Text:
    """Return a JSON value as a person reads it, made printable."""
    from rich.syntax import Syntax

    pretty = json.dumps(value, indent=2, ensure_ascii=False)
    return Syntax("", "json", theme="ansi_dark").highlight(printable(pretty))


def hint(text: str) -> None:
    """Write the text, made printable, on standard error."""
    _write(sys.stderr, printable(text))


def fail(text: str) -> NoReturn:
    """Say in one line what is wrong and what to do, and end the command.

    :raises SystemExit: always, with status 1
    """
    hint(f"Error: {one_line(text)}")
    raise SystemExit(1)


def confirm(question: str) -> None:
    """Return where the person at the terminal agrees; the question goes to standard error.

    :raises SystemExit: with status 1, where not
    """
    sys.stderr.write(f"{printable(question)} [y/N] ")
    sys.stderr.flush()
    line = sys.stdin.readline()
    if not line:
        hint("")
        fail("standard input ended before an answer; --yes goes on without one")
    if line.strip().lower() not in ("y", "yes"):
        fail("cancelled; nothing was changed")


def answer(text: str, record: Row, output: str) -> None:
    """Write what was done: a sentence for a person, else a list of one."""
    if output == "table":
        say(text)
    else:
        write_rows([record], output)


@contextmanager
def progress(text: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far something long is, where standard error is a terminal; give what adds to it."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(text, total=total)
        yield lambda done: bar.advance(task, done)


def write_rows(rows: Sequence[Row], output: str, *, whole: Sequence[str] = ()) -> None:
    """Write rows of the same keys as `--output` asks: table, json, yaml or plain.

    :param whole: columns that are to be copied, so their cells are never broken
    """
    if output in ("json", "yaml"):
        _write_data(rows, output)
    elif rows:
        lines = [list(rows[0]), *([one_line(value) for value in row.values()] for row in rows)]
        _write_table(lines, output, whole=whole)
    else:
        say("No data found")


def write_record(record: Row, output: str) -> None:
    """Write one thing: its fields below each other where a person reads it, else as a list of one."""
    if output in ("json", "yaml"):
        _write_data([record], output)
    else:
        _write_table([["field", "value"], *([key, one_line(value)] for key, value in record.items())], output)


def _write_data(rows: Sequence[Row], output: str) -> None:
    from airflow.cli.simple_table import AirflowConsole

    console = AirflowConsole()
    # Not `print_as`, which makes a text of every number. Both formats escape what is not printable ASCII.
    data: Any = [dict(row) for row in rows]
    if output == "json":
        console.print_as_json(data)
    else:
        console.print_as_yaml(data)


def _write_table(lines: Sequence[Sequence[str]], output: str, *, whole: Sequence[str] = ()) -> None:
    if output == "plain":
        _write_columns(lines)
        return
    from airflow.cli.simple_table import AirflowConsole, SimpleTable
    from rich.text import Text

    table = SimpleTable(show_header=True)  # type: ignore[no-untyped-call]
    for name in lines[0]:
        table.add_column(name, no_wrap=name in whole)
    for line in lines[1:]:
        # Text, since a str here is read as markup.
        table.add_row(*(Text(cell) for cell in line))
    AirflowConsole().print(table)


def _write_columns(lines: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _write(stream: TextIO, text: str) -> None:
    # A terminal that is set to ASCII gets escapes in place of an error.
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    stream.flush()


def write_lines(lines: Iterable[str]) -> None:
    """Write several lines of an answer."""
    for line in lines:
        say(line)
