"""One line of a table of docs/benchmarks.md.

Invariant: a figure for which nothing is wanted is met.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """What was measured and what is wanted.

    :param value: what the plot shows; None for what it leaves out
    """

    name: str
    measured: str
    wanted: str
    met: bool
    value: float | None = None


def told(figures: Iterable[Figure]) -> Iterator[Figure]:
    """Print each figure as it is taken."""
    for figure in figures:
        print(f"{'ok ' if figure.met else 'NOT'} {figure.name}: {figure.measured}", flush=True)
        yield figure


def table(figures: Iterable[Figure]) -> str:
    """Return the lines of a table in Markdown."""
    lines = [f"| {each.name} | {each.measured} | {each.wanted} | {_verdict(each)} |" for each in figures]
    return "\n".join(["| what | measured | wanted | |", "|---|---|---|---|", *lines])


def _verdict(figure: Figure) -> str:
    return "" if not figure.wanted else "met" if figure.met else "**not met**"
