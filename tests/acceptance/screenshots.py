"""`make screenshots`: the pictures of docs/img, from a running Airflow with deliveries that were made.

Invariant: what is shown was sent, taken or refused by real endpoints; nothing that it started keeps running.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trustme
from playwright.sync_api import Browser, Page, expect
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from airflow_webhook_notify.models import Delivery, Event
from airflow_webhook_notify.outbox.records import DeliveryFilter
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.topics import FAILED
from tests.acceptance.airflow_under_test import AirflowUnderTest
from tests.acceptance.browser import PHONE, Person, Theme, chromium, person, row, why_no_browser
from tests.servers import PATIENCE, Answer, ProxyServer, RecordingServer

DAGS = Path(__file__).parent / "page_dags"
PICTURES = Path(__file__).parents[2] / "docs" / "img"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SIZE = (1280, 760)
#: A picture in a page of documentation must not be larger, in bytes.
LARGEST = 150_000
_HOUR = 3_600_000
_DOWN = Answer(503, body=b'{"error": "upstream is being deployed", "retry": true}')


@dataclass(frozen=True)
class Shown:
    """A webhook of the pictures.

    :param hours: how many deliveries it got in each hour, from 24 hours ago on
    """

    conn_id: str
    nickname: str
    host: str
    extra: Mapping[str, object]
    hours: tuple[int, ...]


ON_CALL = Shown(
    *("on_call", "On call", "hooks.example.com"),
    {"dags": ["orders", "etl_*"], "level": "both", "authorization": "Bearer 5f2c81d0"},
    (2, 1, 0, 0, 1, 3, 6, 9, 12, 11, 9, 8, 10, 12, 14, 11, 8, 6, 5, 3, 4, 2, 3, 4),
)
PLATFORM = Shown(
    *("data_platform", "Data platform", "events.data-platform.net"),
    {"topics": ["job.execution.failed"], "tags": ["production"], "level": "task"},
    (1, 0, 1, 0, 0, 2, 1, 3, 2, 4, 3, 2, 5, 3, 2, 4, 3, 2, 1, 2, 3, 1, 0, 0),
)
PARTNER = Shown(
    *("partner_exports", "Partner exports", "api.partner.example"),
    {"topics": ["job.execution.succeeded"], "dags": ["export_*"]},
    (0, 0, 0, 1, 0, 0, 1, 2, 1, 2, 2, 1, 1, 2, 1, 0, 1, 1, 0, 0, 0, 0, 0, 0),
)
WEBHOOKS = (ON_CALL, PLATFORM, PARTNER)


class Internet(ProxyServer):
    """A proxy by which each host of the pictures is a receiver on this machine."""

    def __init__(self, receivers: Mapping[str, RecordingServer]) -> None:
        super().__init__()
        self._receivers = receivers

    def dial(self, authority: str) -> socket.socket:
        """Return a connection to the receiver that stands for the host."""
        receiver = self._receivers[authority.partition(":")[0]]
        return socket.create_connection((receiver.host, receiver.port), timeout=PATIENCE)


@dataclass(frozen=True)
class Scene:
    """An Airflow, the endpoints of its webhooks, and its outbox."""

    airflow: AirflowUnderTest
    receivers: Mapping[str, RecordingServer]
    outbox: Outbox

    def set_up(self, ca_bundle: Path) -> None:
        """Make the webhooks, and let the deliveries of a day be made."""
        for each in WEBHOOKS:
            extra = {**each.extra, "ca_bundle": str(ca_bundle)}
            fields = {"conn_type": "webhook", "host": f"https://{each.host}/airflow", "password": SECRET}
            self.airflow.add_connection(each.conn_id, description=each.nickname, extra=json.dumps(extra), **fields)
        self._run("quiet", failing=False)
        for each in WEBHOOKS:
            self._send(each)
        self._wait_until_sent()
        reason = "They migrate their database until Thursday"
        self.airflow.cli("webhooks", "pause", PARTNER.conn_id, "--reason", reason)
        self.receivers[PLATFORM.host].answer_with(_DOWN)
        self.receivers[ON_CALL.host].answer_with(_DOWN)
        self._send(replace(PLATFORM, hours=(0,) * 21 + (2, 3, 2)))
        self._send(replace(PARTNER, hours=(0,) * 20 + (2, 4, 3, 5)))
        self._run("nightly_2026-05-27", failing=True)
        self._recover()

    def _recover(self) -> None:
        """Let the endpoint of On call work again once the failure was tried in vain twice."""
        wanted = DeliveryFilter(webhook_id=ON_CALL.conn_id, task_id="load", topic=FAILED)

        def attempts() -> int:
            return max((each.attempts_count for each in self.outbox.deliveries(wanted).deliveries), default=0)

        self.airflow.wait_until("the failure was tried twice", lambda: attempts() == 2, timeout=60)
        self.receivers[ON_CALL.host].answer_with(200)
        self.airflow.wait_until("the failure is delivered", lambda: attempts() == 3, timeout=60)

    def _run(self, run_id: str, *, failing: bool) -> None:
        self.airflow.trigger("orders", run_id=run_id, conf={"exit": 7 if failing else 0})
        self.airflow.wait_for_run("orders", run_id)

    def _send(self, webhook: Shown) -> None:
        """Take events into the outbox as of each hour of the last day; the relay sends them."""
        model, now = self._model(), time.time_ns() // 1_000_000
        for index, count in enumerate(webhook.hours):
            for part in range(count):
                at = now - (24 - index) * _HOUR + part * _HOUR // (count + 1) + 60_000
                event = replace(model, id=str(uuid.uuid4()), created_at=at)
                self.outbox.enqueue(Delivery.of(event, webhook.conn_id), now=at)

    def _model(self) -> Event:
        """Return an event that a task's end has brought."""
        wanted = DeliveryFilter(webhook_id=ON_CALL.conn_id, task_id="load")
        found = self.airflow.wait_until(
            "the run is told of", lambda: self.outbox.deliveries(wanted).deliveries, timeout=60
        )
        detail = self.outbox.delivery(found[0].id)
        assert detail is not None
        return detail.event

    def _wait_until_sent(self) -> None:
        def sent() -> bool:
            return not any(each.pending for each in self.outbox.counts().values())

        self.airflow.wait_until("all of the day is delivered", sent, timeout=120)


@contextmanager
def scene() -> Iterator[Scene]:
    """Start all that the pictures show, for the length of a `with`."""
    authority = trustme.CA()
    with tempfile.TemporaryDirectory(prefix="webhook-notify-pictures-") as folder, ExitStack() as stack:
        receivers = {each.host: stack.enter_context(_receiver(authority, each.host)) for each in WEBHOOKS}
        proxy = stack.enter_context(Internet(receivers))
        bundle = Path(folder) / "authority.pem"
        authority.cert_pem.write_to_path(str(bundle))
        airflow = _airflow(Path(folder) / "airflow", proxy=proxy.url(""))
        try:
            airflow.start()
            engine = stack.enter_context(_engine(airflow))
            shown = Scene(airflow, receivers, engine)
            shown.set_up(bundle)
            yield shown
        finally:
            airflow.stop()


def _receiver(authority: trustme.CA, host: str) -> RecordingServer:
    import ssl

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(tls)
    return RecordingServer(Answer(200, body=b"ok"), tls=tls)


@contextmanager
def _engine(airflow: AirflowUnderTest) -> Iterator[Outbox]:
    engine = create_engine(airflow.database_url, poolclass=NullPool)
    try:
        yield Outbox(engine)
    finally:
        engine.dispose()


def _airflow(home: Path, *, proxy: str) -> AirflowUnderTest:
    home.mkdir()
    audit = {"conn_type": "webhook", "host": "https://audit.example.com/airflow", "password": SECRET}
    return AirflowUnderTest(
        home,
        DAGS,
        users={"admin": "admin-password"},
        options={
            "webhook_notify.retry_schedule": "2,6,1800,7200",
            "webhook_notify.grace": "2",
            "webhook_notify.organization_id": "data-platform",
        },
        environment={
            "HTTPS_PROXY": proxy,
            "AIRFLOW_CONN_AUDIT_TRAIL": json.dumps({**audit, "description": "Audit trail"}),
        },
    )


class Camera:
    """Takes pictures in windows of a browser."""

    def __init__(self, browser: Browser, airflow: AirflowUnderTest, folder: Path) -> None:
        self._browser = browser
        self._airflow = airflow
        self._folder = folder

    @contextmanager
    def window(self, theme: Theme, *, size: tuple[int, int] = SIZE) -> Iterator[Person]:
        """Give a window in which the administrator is signed in."""
        with person(self._browser, self._airflow, "admin", size=size, theme=theme) as admin:
            admin.set_theme(theme)
            yield admin

    def take(self, page: Page, name: str) -> None:
        """Write what the window shows.

        :raises AssertionError: where the picture is too large for a page of documentation
        """
        page.mouse.move(0, 0)
        page.wait_for_timeout(300)
        path = self._folder / f"{name}.png"
        page.screenshot(path=path, animations="disabled")
        assert path.stat().st_size < LARGEST, f"{path.name} has {path.stat().st_size:,} bytes"
        print(f"   {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}")


def take_all(camera: Camera) -> None:
    """Take every picture."""
    for theme, name in (("light", "webhooks"), ("dark", "webhooks-dark")):
        with camera.window(theme) as admin:  # type: ignore[arg-type]
            _wait_for_list(admin)
            camera.take(admin.page, name)
    with camera.window("light", size=(1280, 900)) as admin:
        _fill_form(admin)
        camera.take(admin.page, "add-webhook")
    with camera.window("light", size=(1280, 900)) as admin:
        _open_delivery(admin)
        camera.take(admin.page, "delivery")
    with camera.window("light", size=PHONE) as admin:
        admin.show()
        camera.take(admin.page, "webhooks-phone")
    with camera.window("light") as admin:
        _fill_connection(admin)
        camera.take(admin.page, "connection-form")


def _wait_for_list(admin: Person) -> None:
    frame = admin.open_webhooks()
    expect(row(frame, "Data platform").get_by_text("Failing")).to_be_visible()


def _fill_form(admin: Person) -> None:
    frame = admin.open_webhooks()
    frame.get_by_role("button", name="Add webhook").first.click()
    form = frame.get_by_role("dialog", name="Add webhook")
    form.get_by_label("Nickname").fill("Billing team")
    form.get_by_label("Endpoint URL").fill("https://hooks.example.com/billing")
    form.get_by_label("Authorization header").fill("Bearer 5f2c81d0a4")
    form.get_by_label("started").uncheck()
    form.get_by_label("DAGs", exact=True).fill("billing_*\n!billing_test")
    form.get_by_label("DAG tags").focus()


def _open_delivery(admin: Person) -> None:
    frame = admin.open_webhooks()
    frame.get_by_role("link", name="Deliveries").click()
    failed = row(frame, "orders.load failed").filter(has_text="on_call").filter(has_text="3, last 200")
    expect(failed.first).to_be_visible()
    failed.first.get_by_role("link").first.click()
    expect(frame.get_by_role("heading", name="Attempt 3")).to_be_visible()


def _fill_connection(admin: Person) -> None:
    page = admin.page
    page.goto(f"{admin.airflow.url}/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.locator('input[name="connection_id"]').fill("billing_team")
    form.get_by_role("combobox").first.click()
    page.get_by_role("option", name="Webhook", exact=True).click()
    form.locator('[name="description"]').fill("Billing team")
    form.locator('[name="host"]').fill("https://hooks.example.com/billing")
    form.locator('[name="password"]').fill(SECRET)


def main() -> int:
    """Take the pictures and return the exit status."""
    if reason := why_no_browser():
        print(f"No pictures: {reason}", file=sys.stderr)
        return 1
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else PICTURES
    print("An Airflow, its webhooks and a day of deliveries ...", flush=True)
    with scene() as shown, chromium() as browser:
        take_all(Camera(browser, shown.airflow, folder))
    return 0


if __name__ == "__main__":
    # Airflow's processes inherit this, and none of them should stop to ask.
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    sys.exit(main())
