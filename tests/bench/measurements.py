"""What the relay can do, measured.

Invariant: what is compared is measured in the same run, in turns, and the median of the rounds is the figure.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil
import requests

from airflow_webhook_notify.client import build_headers
from airflow_webhook_notify.payloads import build_payload
from airflow_webhook_notify.relay import Relay
from tests.bench.endpoint import BenchEndpoint, endpoint
from tests.bench.figures import Figure
from tests.bench.outbox import FILL, make_delivery, now
from tests.bench.scenes import DATABASES, Databases, Scene, make_engine, relay_processes, scene, wait_for
from tests.sending import make_webhook

ROUNDS = 3


def throughput(bases: Databases, *, deliveries: int = 10_000) -> Iterator[Figure]:
    """Measure how fast an endpoint that answers at once is served, beside a loop that stores nothing."""
    for kind in DATABASES:
        ratios, rates, bare = [], [], []
        for _ in range(ROUNDS):
            with endpoint() as there:
                before = _bare_rate(there.url)
                rate = _relay_rate(bases.make(kind), there, deliveries)
                loop = (before + _bare_rate(there.url)) / 2
            bare.append(loop)
            rates.append(rate)
            ratios.append(rate / loop)
        ratio, rate = statistics.median(ratios), statistics.median(rates)
        yield Figure(
            f"{deliveries:,} deliveries, endpoint answers at once, {kind}",
            f"**{ratio:.2f}** of a bare `requests.Session` loop ({rate:.0f}/s of {statistics.median(bare):.0f}/s; "
            f"rounds {', '.join(f'{each:.2f}' for each in ratios)})",
            "≥ 0.6",
            ratio >= 0.6,
            rate,
        )


def _bare_rate(url: str, count: int = 2000) -> float:
    webhook, items = make_webhook(url), []
    for number in range(count):
        delivery = make_delivery(number, "ops")
        body = build_payload(delivery, delivery.id)
        items.append((body, build_headers(webhook, delivery.event.id, body, now=time.time())))
    with requests.Session() as session:
        started = time.perf_counter()
        for body, headers in items:
            session.post(url, data=body, headers=headers)
        return count / (time.perf_counter() - started)


def _relay_rate(url: str, there: BenchEndpoint, deliveries: int) -> float:
    with scene(url, ops=there.url) as here:
        there.take()
        here.enqueue(deliveries)
        started = time.perf_counter()
        with here.relay():
            while here.outbox.counts()["ops"].delivered < deliveries:
                time.sleep(0.05)
            return deliveries / (time.perf_counter() - started)


def slow_endpoint(bases: Databases, *, deliveries: int = 3000) -> Iterator[Figure]:
    """Measure one relay and two, each in its process, with an endpoint that takes 100 ms."""
    for kind in DATABASES:
        rate = _slow_rate(bases.make(kind), 1, deliveries)
        yield Figure(f"Endpoint takes 100 ms, one relay, {kind}", f"**{rate:.0f}/s**", "≥ 250/s", rate >= 250, rate)
    pairs = [
        [_slow_rate(bases.make("PostgreSQL"), relays, deliveries * relays) for relays in (1, 2)] for _ in range(ROUNDS)
    ]
    ratio = statistics.median(two / one for one, two in pairs)
    two = statistics.median(two for _, two in pairs)
    measured = f"**{ratio:.2f}** × one relay ({two:.0f}/s)"
    yield Figure("Endpoint takes 100 ms, two relays, PostgreSQL", measured, "≥ 1.6 ×", ratio >= 1.6, two)


def _slow_rate(url: str, relays: int, deliveries: int) -> float:
    with endpoint(delay=0.1) as there, scene(url) as here, relay_processes(relays, url, there.url):
        here.enqueue(deliveries)
        wait_for(there, deliveries)
        times = sorted(arrived for _, arrived in there.take())
        return (len(times) - 1) / (times[-1] - times[0])


def latency(bases: Databases, *, events: int = 300) -> Iterator[Figure]:
    """Measure from an event's commit to its arrival while nothing else goes on."""
    for kind in DATABASES:
        url = bases.make(kind)
        with endpoint() as there, scene(url, ops=there.url) as here, here.relay() as relay:
            taken = _trickle(here, there, relay, events=events, every=0.05)
        yield _latency_figure(f"Event committed → request arrives, idle, relay in the API server, {kind}", taken)
    url = bases.make("PostgreSQL")
    with endpoint() as there, scene(url) as here, relay_processes(1, url, there.url):
        taken = _trickle(here, there, None, events=events, every=0.0531)
    yield _latency_figure("The same, relay in a process of its own (it looks every 50 ms), PostgreSQL", taken)


def _latency_figure(name: str, taken: Sequence[float]) -> Figure:
    half, most = statistics.median(taken) * 1000, _percentile(taken, 99) * 1000
    measured = f"**p50 {half:.1f} ms, p99 {most:.1f} ms**"
    return Figure(name, measured, "p50 ≤ 50 ms, p99 ≤ 500 ms", half <= 50 and most <= 500)


def _trickle(
    here: Scene, there: BenchEndpoint, relay: Relay | None, *, events: int, every: float, webhook_id: str = "ops"
) -> list[float]:
    """Enqueue events one at a time and return the seconds from each commit to its arrival."""
    there.take()
    committed: dict[str, float] = {}
    for _ in range(events):
        (event_id,) = here.enqueue(1, webhook_id)
        committed[event_id] = time.time()
        if relay is not None:
            # As the intake does.
            relay.wake()
        time.sleep(every)
    wait_for(there, events)
    return [arrived - committed[event_id] for event_id, arrived in there.take()]


def _percentile(values: Sequence[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


def dead_neighbor(bases: Databases, *, events: int = 1000) -> Iterator[Figure]:
    """Measure a healthy endpoint's latency, alone and beside one that takes connections and never answers."""
    for kind in DATABASES:
        alone: list[float] = []
        beside: list[float] = []
        for _ in range(ROUNDS):
            for dead, found in ((0, alone), (500, beside)):
                with _neighbors(bases.make(kind)) as (here, there, relay):
                    if dead:
                        here.enqueue(dead, "dead")
                        relay.wake()
                    found.append(_percentile(_trickle(here, there, relay, events=events, every=0.005), 99))
        before, after = statistics.median(alone) * 1000, statistics.median(beside) * 1000
        yield Figure(
            f"A dead endpoint with 500 deliveries beside a healthy one, {kind}",
            f"p99 of the healthy one {before:.1f} → {after:.1f} ms (**{after / before - 1:+.0%}**)",
            "≤ +25 %",
            after <= 1.25 * before,
        )


@contextmanager
def _neighbors(url: str) -> Iterator[tuple[Scene, BenchEndpoint, Relay]]:
    with (
        endpoint() as there,
        endpoint(delay=3600) as dead,
        scene(url, ops=there.url, dead=dead.url) as here,
        here.relay() as relay,
    ):
        yield here, there, relay


def claim(bases: Databases, *, rows: int = 1_000_000) -> Iterator[Figure]:
    """Measure a claim on a table with many deliveries that are long done."""
    for kind in DATABASES:
        engine = make_engine(bases.make(kind))
        with engine.begin() as connection:
            connection.execute(FILL, {"rows": rows, "no": False, "data": '{"Command":"' + "x" * 300 + '"}'})
        if kind == "PostgreSQL":
            with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.exec_driver_sql("VACUUM ANALYZE")
        with scene(str(engine.url)) as here:
            idle, full = _claim_times(here, 0), _claim_times(here, 32)
        engine.dispose()
        yield Figure(
            f"A claim beside {rows:,} delivered rows, {kind}",
            f"**{full:.1f} ms** for 32 deliveries; {idle:.1f} ms for a look that finds nothing",
            "≤ 5 ms" if kind == "PostgreSQL" else "",
            kind != "PostgreSQL" or full <= 5,
        )


def _claim_times(here: Scene, count: int, *, times: int = 50) -> float:
    durations = []
    for _ in range(times):
        here.enqueue(count)
        started = time.perf_counter()
        claimed = here.outbox.claim(now=now(), lease=60_000, limit=200, capacity=lambda _: 32)
        durations.append(time.perf_counter() - started)
        assert len(claimed) == count
    return statistics.median(durations) * 1000


def memory(bases: Databases, *, deliveries: int = 50_000, step: int = 5000) -> tuple[Figure, list[float]]:
    """Measure the memory of a relay while it delivers, after a first part that fills its caches.

    Returns MiB after each step too.
    """
    url, sizes = bases.make("PostgreSQL"), []
    with endpoint() as there, scene(url) as here, relay_processes(1, url, there.url) as (process,):
        for done in range(step, deliveries + 1, step):
            here.enqueue(step)
            wait_for(there, done)
            sizes.append(process.memory_info().rss / 2**20)
    stray = max(abs(size / sizes[0] - 1) for size in sizes)
    measured = f"**± {stray:.0%}** of the {sizes[0]:.0f} MiB after the first {step:,}"
    return Figure(f"Memory of a relay over {deliveries:,} deliveries", measured, "± 10 %", stray <= 0.1), sizes


def idle_cost(bases: Databases, *, seconds: float = 10.0) -> Iterator[Figure]:
    """Measure the processor's time that a relay takes while there is nothing to do."""
    for kind in DATABASES:
        url = bases.make(kind)
        with relay_processes(1, url, "http://127.0.0.1:9/") as (process,):
            before = _processor(process)
            threading.Event().wait(seconds)
            share = (_processor(process) - before) / seconds
        yield Figure(f"A relay that idles, {kind}", f"{share:.1%} of one processor", "", met=True)


def _processor(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
