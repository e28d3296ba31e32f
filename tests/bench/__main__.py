"""Measures everything and writes docs/benchmarks.md: `make bench`.

Invariant: what the page says of figures comes from one run of this.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from tests.bench import measurements
from tests.bench.measurements import Figure
from tests.bench.plot import draw
from tests.bench.scenes import Databases, databases

DOCS = Path(__file__).parents[2] / "docs"
BEGIN, END = "<!-- figures: written by `make bench` -->\n", "<!-- end of the figures -->\n"


def measure(bases: Databases) -> tuple[list[Figure], list[float]]:
    """Take every figure, and the memory of a relay over time."""
    figures = []
    for figure in _figures(bases):
        print(f"{'ok ' if figure.met else 'NOT'} {figure.name}: {figure.measured}", flush=True)
        figures.append(figure)
    flat, sizes = measurements.memory(bases)
    print(f"{'ok ' if flat.met else 'NOT'} {flat.name}: {flat.measured}", flush=True)
    return [*figures, flat], sizes


def _figures(bases: Databases) -> Iterator[Figure]:
    yield from measurements.throughput(bases)
    yield from measurements.slow_endpoint(bases)
    yield from measurements.latency(bases)
    yield from measurements.dead_neighbor(bases)
    yield from measurements.claim(bases)
    yield from measurements.idle_cost(bases)


def write(figures: list[Figure], sizes: list[float]) -> None:
    """Put the figures into the page, and the plot beside it."""
    page = DOCS / "benchmarks.md"
    before, _, rest = page.read_text().partition(BEGIN)
    lines = [f"| {each.name} | {each.measured} | {each.wanted} | {_verdict(each)} |" for each in figures]
    table = "\n".join(["| what | measured | wanted | |", "|---|---|---|---|", *lines])
    page.write_text(f"{before}{BEGIN}{_machine()}\n\n{table}\n{END}{rest.partition(END)[2]}")
    (DOCS / "img").mkdir(exist_ok=True)
    (DOCS / "img" / "benchmarks.svg").write_text(draw(figures, sizes))


def _verdict(figure: Figure) -> str:
    return "" if not figure.wanted else "met" if figure.met else "**not met**"


def _machine() -> str:
    return (
        f"Measured with Python {platform.python_version()}, Airflow {version('apache-airflow')}, SQLAlchemy "
        f"{version('SQLAlchemy')}, on {os.cpu_count()} processors that the endpoint, the database and the relays share."
    )


if __name__ == "__main__":
    with databases() as made:
        write(*measure(made))
