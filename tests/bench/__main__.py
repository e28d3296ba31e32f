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

from tests.bench import callbacks, imports, loops, measurements, pages
from tests.bench.distributions import draw_distributions
from tests.bench.figures import Figure, table, told
from tests.bench.plot import draw, draw_callbacks
from tests.bench.scenes import DATABASES, Databases, databases

DOCS = Path(__file__).parents[2] / "docs"
#: Where the axis of the scheduler's loops may end, in ms.
EDGES = (100, 200, 500, 1000, 2000, 5000, 10_000)
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


def measure_watcher(bases: Databases) -> None:
    """Measure what a look of the watcher takes, and how long a change waits for one."""
    # They import Airflow's models, which the processes that spring from this one can do without.
    from tests.bench import lag, watcher

    figures = [*told(watcher.looks(bases))]
    lags: dict[str, list[float]] = {}
    for name, taken in lag.measure(bases):
        lags[name] = taken
        figures += told([lag.figure(name, taken)])
    title = "Share of the changes that are in the outbox after so many ms"
    plot("watcher", draw_distributions(title, lags, edge=2000, step=250))
    write("watcher", f"{table(figures)}\n\n![{title}](img/watcher.svg)")


def measure_scheduler(bases: Databases) -> None:
    """Measure the scheduler's loop with the package and without."""
    found = loops.measure(bases)
    figures = table(told(loops.figures(found)))
    title = "Share of the scheduler's loops that took no more than so many ms"
    times = {name: each.all for name, each in found.items()}
    edge = next(edge for edge in EDGES if edge >= max(each.at(99) for each in found.values()))
    plot("scheduler", draw_distributions(title, times, edge=edge, step=edge / 10))
    write("scheduler", f"{figures}\n\n![{title}](img/scheduler.svg)")


SCENES: dict[str, Callable[[Databases], None]] = {
    "imports": measure_imports,
    "callbacks": measure_callbacks,
    "relay": measure_relay,
    "watcher": measure_watcher,
    "scheduler": measure_scheduler,
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
