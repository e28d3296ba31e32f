"""Measures and writes docs/benchmarks.md: `make bench`, or `python -m tests.bench` and some of the scenes' names.

Invariant: what one table of the page says comes from one run of this.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from tests.bench import callbacks, imports, measurements, pages
from tests.bench.figures import Figure, table, told
from tests.bench.plot import draw, draw_callbacks
from tests.bench.scenes import DATABASES, Databases, databases

DOCS = Path(__file__).parents[2] / "docs"
#: Mean of the last minute.
LOAD = os.getloadavg()[0]


def measure_imports(_: Databases) -> None:
    """Measure what an import costs a DAG file."""
    write("imports", table(told(imports.measure())))


def measure_callbacks(bases: Databases) -> None:
    """Measure what a callback adds to a task."""
    found: list[callbacks.Results] = []
    figures: list[Figure] = []
    for kind in DATABASES:
        found.append(callbacks.measure(bases, kind))
        figures += told(callbacks.figures(found[-1]))
    write("callbacks", table(figures))
    plot("callbacks", draw_callbacks(found[0]))


def measure_relay(bases: Databases) -> None:
    """Measure what the relay can do, and its memory over time."""
    figures = [*told(_relay_figures(bases))]
    flat, sizes = measurements.memory(bases)
    write("figures", table([*figures, *told([flat])]))
    plot("benchmarks", draw(figures, sizes))


def measure_pages(bases: Databases) -> None:
    """Measure what the Webhooks page asks of the API server."""
    write("pages", table(told(pages.measure(bases))))


def _relay_figures(bases: Databases) -> Iterator[Figure]:
    yield from measurements.throughput(bases)
    yield from measurements.slow_endpoint(bases)
    yield from measurements.latency(bases)
    yield from measurements.dead_neighbor(bases)
    yield from measurements.claim(bases)
    yield from measurements.idle_cost(bases)


SCENES: dict[str, Callable[[Databases], None]] = {
    "imports": measure_imports,
    "callbacks": measure_callbacks,
    "relay": measure_relay,
    "pages": measure_pages,
}


def write(name: str, text: str) -> None:
    """Put a table into its place on the page."""
    page = DOCS / "benchmarks.md"
    begin, end = f"<!-- {name}: written by `make bench` -->\n", f"<!-- end of the {name} -->\n"
    before, _, rest = page.read_text().partition(begin)
    page.write_text(f"{before}{begin}{_machine()}\n\n{text}\n{end}{rest.partition(end)[2]}")


def plot(name: str, svg: str) -> None:
    """Put a plot beside the page."""
    (DOCS / "img").mkdir(exist_ok=True)
    (DOCS / "img" / f"{name}.svg").write_text(svg)


def _machine() -> str:
    return (
        f"Measured with Python {platform.python_version()}, Airflow {version('apache-airflow')}, SQLAlchemy "
        f"{version('SQLAlchemy')}, on {os.cpu_count()} processors that everything here shares. Load of the machine "
        f"when it began, by other work: {LOAD:.1f}."
    )


if __name__ == "__main__":
    with databases() as made:
        for scene in sys.argv[1:] or SCENES:
            SCENES[scene](made)
