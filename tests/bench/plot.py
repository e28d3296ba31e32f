"""The plot of docs/benchmarks.md, as SVG.

Invariant: it shows the figures that it is given and nothing else, and reads on a light and a dark page.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from math import log10

from tests.bench.callbacks import KIND_NAMES, NAMES, Results
from tests.bench.figures import Figure

WIDTH, BAR, GAP, LEFT = 860, 22, 12, 430
STYLE = (
    "text{font:13px sans-serif;fill:#6e7781}.bar{fill:#2f81f7}.line{fill:none;stroke:#2f81f7;stroke-width:2}"
    ".axis{stroke:#8c959f}"
)


def draw(figures: Sequence[Figure], sizes: Sequence[float]) -> str:
    """Return an SVG: deliveries a second as bars, and below them the memory of a relay over time."""
    rates = [(figure.name, figure.value) for figure in figures if figure.value is not None]
    top = 40 + len(rates) * (BAR + GAP) + 50
    parts = [*_bars(rates), *_curve(sizes, top=top, height=140)]
    height = top + 190
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        f"<title>Deliveries a second, and memory of a relay</title><style>{STYLE}</style>{''.join(parts)}</svg>\n"
    )


def draw_callbacks(results: Results) -> str:
    """Return an SVG: what each callback adds to a task, as bars on a scale of powers of ten, from 1 ms on."""
    height = 40 + len(results.taken) * (BAR + GAP)
    title = f"What one callback adds to a task: median in ms, each mark ten times the last; {results.database}"
    parts = [f'<text x="0" y="18">{escape(title)}</text>']
    step = (WIDTH - LEFT - 170) / 4.5
    for power in range(5):
        x = LEFT + power * step
        parts.append(f'<line class="axis" x1="{x:.0f}" y1="28" x2="{x:.0f}" y2="{height}" stroke-dasharray="2 4"/>')
    for place, taken in enumerate(sorted(results.taken, key=lambda each: list(KIND_NAMES).index(each.kind))):
        y = 36 + place * (BAR + GAP)
        name = f"{KIND_NAMES[taken.kind]}: {NAMES[taken.sender].strip('`')}"
        length = max(1.0, log10(taken.median) * step)
        lost = f", {taken.lost} of {taken.events} lost" if taken.lost else ""
        parts += [
            f'<text x="{LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(name)}</text>',
            f'<rect class="bar" x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR}" rx="2"/>',
            f'<text x="{LEFT + length + 8:.0f}" y="{y + 16}">{taken.median:,.0f}{lost}</text>',
        ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>{''.join(parts)}</svg>\n"
    )


def _bars(rates: Sequence[tuple[str, float]]) -> Iterator[str]:
    yield '<text x="0" y="18">Deliveries a second</text>'
    most = max((rate for _, rate in rates), default=1.0)
    for place, (name, rate) in enumerate(rates):
        y = 36 + place * (BAR + GAP)
        yield f'<text x="{LEFT - 10}" y="{y + 16}" text-anchor="end">{escape(name)}</text>'
        length = rate / most * (WIDTH - LEFT - 70)
        yield f'<rect class="bar" x="{LEFT}" y="{y}" width="{length:.0f}" height="{BAR}" rx="2"/>'
        yield f'<text x="{LEFT + length + 8:.0f}" y="{y + 16}">{rate:.0f}</text>'


def _curve(sizes: Sequence[float], *, top: int, height: int) -> Iterable[str]:
    most = max(sizes) * 1.25
    step = (WIDTH - 120) / max(1, len(sizes) - 1)
    points = " ".join(
        f"{60 + place * step:.0f},{top + height - size / most * height:.0f}" for place, size in enumerate(sizes)
    )
    return [
        f'<text x="0" y="{top - 14}">Memory of a relay in MiB, over {len(sizes) * 5000:,} deliveries</text>',
        f'<line class="axis" x1="60" y1="{top + height}" x2="{WIDTH - 60}" y2="{top + height}"/>',
        f'<text x="52" y="{top + height}" text-anchor="end">0</text>',
        f'<polyline class="line" points="{points}"/>',
        f'<text x="{WIDTH - 52}" y="{top + height - sizes[-1] / most * height:.0f}">{sizes[-1]:.0f}</text>',
    ]
