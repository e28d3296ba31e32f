"""Commands run in this process, through Airflow's own parser.

Invariant: a command gets what a person's shell would give it, `sys.argv` too, and its words are kept apart by stream.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from airflow.cli.cli_parser import get_parser


@dataclass(frozen=True)
class Result:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """What it wrote with `--output json`."""
        rows: list[dict[str, Any]] = json.loads(self.out)
        return rows

    @property
    def row(self) -> dict[str, Any]:
        """Its one row."""
        (row,) = self.rows
        return row


Run = Callable[..., Result]


def make_run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return what runs `airflow webhooks` with the given arguments."""

    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["airflow", "webhooks", *arguments])
        capsys.readouterr()
        code = call(arguments)
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


def call(arguments: tuple[str, ...]) -> int:
    """Run a command and return its exit status."""
    try:
        args = get_parser().parse_args(["webhooks", *arguments])
        args.func(args)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else 1
    return 0
