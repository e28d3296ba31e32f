"""docs/reliability.md says of tasks and runs what the acceptance tests observe, row by row.

Invariant: the table is made from the matrix. To write it anew: `python -m tests.unit.test_reliability_doc`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.acceptance.matrix import MATRIX, OR_MORE, Row

DOC = Path(__file__).parents[2] / "docs" / "reliability.md"
_BLOCK = re.compile(r"(<!-- generated: matrix -->\n)(.*?)(<!-- end -->)", re.S)
_LINE = re.compile(r"(?P<dag>\w+)(?:\.(?P<task>[\w\[\]]+)#(?P<try>\d+))? (?P<what>.*)")
_HEAD = ("What happens", "Airflow calls", "A subscribed webhook hears", "Test")
_TIMES = {1: "", 2: " twice", 3: " three times"}


def matrix_table() -> str:
    """Return the table of Markdown, with an empty line around it."""
    lines = [_HEAD, *(_cells(row) for row in MATRIX)]
    head, *rows = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join(["", head, "|" + "---|" * len(_HEAD), *rows, "", ""])


def _cells(row: Row) -> tuple[str, str, str, str]:
    calls = _told(row.calls, _call)
    if row.calls_on_old is not None and row.calls_on_old != row.calls:
        calls += f" (on 3.2.2: {_told(row.calls_on_old, _call)})"
    test = f"{row.test}[{row.dag_id}]" if row.test == "test_each_event_arrives_once" else row.test
    return row.what, calls, _told(row.hears, _event), f"`{test}`"


def _told(lines: Iterable[str], say: Callable[[str], str]) -> str:
    """Return what is told of each try of each task, and of the run."""
    by_subject: dict[tuple[str, str], list[str]] = {}
    for line in lines:
        match = _LINE.fullmatch(line)
        assert match, line
        by_subject.setdefault((match["task"] or "", match["try"] or ""), []).append(say(match["what"]))
    subjects = sorted(by_subject, key=lambda subject: subject == ("", ""))
    return "; ".join(f"{_subject(*subject)}: {_counted(by_subject[subject])}" for subject in subjects)


def _subject(task: str, try_number: str) -> str:
    if not task:
        return "run"
    return f"`{task}`" if try_number in ("0", "1") else f"`{task}`, try {try_number}"


def _counted(said: list[str]) -> str:
    return ", ".join(f"{what}{_TIMES[said.count(what)]}" for what in dict.fromkeys(said))


def _call(what: str) -> str:
    return f"`{what.removesuffix(OR_MORE)}`{' once or more' if what.endswith(OR_MORE) else ''}"


def _event(what: str) -> str:
    again = what.endswith(" (2)")
    topic, state, *failure = what.removesuffix(" (2)").split()
    notes = [f"`{state}`"] if state == "skipped" else []
    if failure:
        cause, status = failure
        notes += [f"`{cause}`"]
        notes += ["tried again"] if state == "up_for_retry" else []
        notes += [f"exit {status}"] if status != "1" else []
    notes += ["again"] if again else []
    return f"{topic} ({', '.join(notes)})" if notes else topic


def test_the_table_is_what_the_acceptance_tests_observe() -> None:
    found = _BLOCK.findall(DOC.read_text(encoding="utf-8"))
    assert [table for _, table, _ in found] == [matrix_table()], "python -m tests.unit.test_reliability_doc"


def test_a_row_says_who_hears_what() -> None:
    row = Row(
        "etl",
        "it dies",
        (
            "etl started running",
            "etl.a[1]#1 failed up_for_retry killed 1",
            "etl.b#2 succeeded skipped",
            "etl failed failed x 7",
        ),
        ("etl.a[1]#1 on_failure", "etl.a[1]#1 on_failure", "etl.b#2 on_failure +", "etl on_failure"),
        calls_on_old=("etl on_x",),
        test="test_it",
    )
    assert _cells(row) == (
        "it dies",
        "`a[1]`: `on_failure` twice; `b`, try 2: `on_failure` once or more; run: `on_failure` (on 3.2.2: run: `on_x`)",
        "`a[1]`: failed (`killed`, tried again); `b`, try 2: succeeded (`skipped`); run: started, failed (`x`, exit 7)",
        "`test_it`",
    )


def write() -> None:
    """Write the table anew."""
    text = DOC.read_text(encoding="utf-8")
    block = _BLOCK.search(text)
    assert block
    DOC.write_text(text[: block.start(2)] + matrix_table() + text[block.end(2) :], encoding="utf-8")


if __name__ == "__main__":
    write()
