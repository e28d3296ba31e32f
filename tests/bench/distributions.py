"""Plots of how often something takes how long, as SVG.

Invariant: each curve shows all the times that it is given but those beyond the edge, whose share it shows as missing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from html import escape

from tests.bench.plot import STYLE, WIDTH

HEIGHT, LEFT, TOP = 240, 60, 40
COLORS = ("#2f81f7", "#d29922", "#3fb950", "#db61a2")
LINE = 20


def draw_distributions(title: str, series: Mapping[str, Sequence[float]], *, edge: float, step: float) -> str:
    """Return an SVG: for each time up to the edge, the share of those that took no longer.

    :param series: name → times, in ms as the edge and the step of the axis
    """
    bottom = TOP + HEIGHT
    parts = [f'<text x="0" y="18">{escape(title)}</text>', *_axes(edge, step, bottom)]
    for place, (name, times) in enumerate(series.items()):
        color, y = COLORS[place % len(COLORS)], bottom + 50 + place * LINE
        parts += [
            f'<polyline class="line" style="stroke:{color}" points="{_points(sorted(times), edge, bottom)}"/>',
            f'<rect x="{LEFT}" y="{y - 11}" width="14" height="12" fill="{color}"/>',
            f'<text x="{LEFT + 22}" y="{y}">{escape(name)}</text>',
        ]
    height = bottom + 50 + len(series) * LINE
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>{''.join(parts)}</svg>\n"
    )


def _axes(edge: float, step: float, bottom: int) -> Iterator[str]:
    for share in (0, 25, 50, 75, 100):
        y = bottom - HEIGHT * share / 100
        yield f'<line class="axis" x1="{LEFT}" y1="{y:.0f}" x2="{WIDTH}" y2="{y:.0f}" stroke-dasharray="2 4"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 5:.0f}" text-anchor="end">{share} %</text>'
    for number in range(int(edge / step) + 1):
        x = _place(number * step, edge)
        yield f'<text x="{x:.0f}" y="{bottom + 20}" text-anchor="middle">{number * step:g}</text>'


def _place(time: float, edge: float) -> float:
    return LEFT + time / edge * (WIDTH - LEFT - 20)


def _points(times: Sequence[float], edge: float, bottom: int) -> str:
    # As many points as the eye can tell apart.
    stops = [edge * number / 200 for number in range(201)]
    shares = [bisect_right(times, stop) / len(times) for stop in stops]
    return " ".join(
        f"{_place(stop, edge):.0f},{bottom - HEIGHT * share:.1f}" for stop, share in zip(stops, shares, strict=True)
    )
