"""The Webhooks page in a real browser, on a real Airflow, in Airflow's own frame."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, expect

from tests.acceptance.airflow_under_test import AirflowUnderTest, running
from tests.acceptance.browser import (
    PHONE,
    Person,
    Theme,
    chromium,
    person,
    require_browser,
    row,
    serious_findings,
    too_wide,
)
from tests.acceptance.page_steps import (
    add,
    add_by_keyboard,
    delete,
    edit,
    pause_and_resume,
    ping,
    reach,
    redeliver_the_other_dead_letters,
    rotate,
    run_orders,
    see_a_failure_and_redeliver_it,
    verified,
)
from tests.servers import Answer, RecordingServer
from tests.verifiers import verify_everywhere

DAGS = Path(__file__).parent / "page_dags"
USERS = {"admin": "admin-password", "viewer": "viewer-password"}
OPTIONS = {
    # One more attempt soon, then a dead letter.
    "webhook_notify.retry_schedule": "1,1",
    "webhook_notify.grace": "1",
    "webhook_notify.organization_id": "acceptance",
    # Some let their runs be called anything.
    "scheduler.allowed_run_id_pattern": ".*",
}


@pytest.fixture(scope="module")
def paged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowUnderTest]:
    """An Airflow with an administrator and a viewer."""
    require_browser()
    home = tmp_path_factory.mktemp("page")
    with running(AirflowUnderTest(home, DAGS, users=USERS, roles={"viewer": "viewer"}, options=OPTIONS)) as started:
        yield started


@pytest.fixture(scope="module")
def browser(paged: AirflowUnderTest) -> Iterator[Browser]:
    """A Chromium, for all tests here."""
    with chromium() as started:
        yield started


@pytest.fixture
def admin(browser: Browser, paged: AirflowUnderTest) -> Iterator[Person]:
    """The administrator, signed in."""
    with person(browser, paged, "admin") as somebody:
        yield somebody


@pytest.fixture
def receiver() -> Iterator[RecordingServer]:
    """A receiver that takes everything."""
    with RecordingServer() as server:
        yield server


def test_a_webhook_from_its_making_to_its_end(admin: Person, receiver: RecordingServer) -> None:
    airflow, page = admin.airflow, admin.open_webhooks()
    secret = add(page, "On call", receiver.url("/hook?key=1"), dags="orders")
    expect(page.get_by_role("heading", name="On call")).to_be_visible()
    assert secret not in page.content()

    ping(page)
    outcome = page.get_by_role("dialog", name="Ping")
    expect(outcome.get_by_text("Taken: 200")).to_be_visible()
    expect(outcome.get_by_role("row", name="webhook-signature")).to_contain_text("v1,***")
    expect(outcome.get_by_label("The payload")).to_contain_text('"Topic": "webhook.ping"')
    outcome.get_by_role("button", name="Close").click()
    (pinged,) = receiver.wait_for(1)
    verify_everywhere(pinged.body, pinged.header_map, secret)

    page.get_by_role("link", name="All deliveries").click()
    expect(row(page, "ping")).to_have_count(1)
    run_orders(airflow, "first")
    # Nobody touches the page meanwhile.
    expect(row(page, "orders.load succeeded").get_by_text("Delivered")).to_be_visible()
    assert all(verified(request, secret) for request in receiver.requests)
    receiver.answer_with(503)
    run_orders(airflow, "second", status=7)
    see_a_failure_and_redeliver_it(page, receiver)
    redeliver_the_other_dead_letters(page)

    page.get_by_role("link", name="on_call").click()
    edit(page)
    (edited,) = json.loads(airflow.cli("webhooks", "show", "on_call", "--output", "json").stdout.splitlines()[-1])
    assert edited["nickname"] == "Second line"
    assert edited["topics"] == ["job.execution.succeeded", "job.execution.failed"]
    rotate(page, receiver, secret)
    pause_and_resume(page, airflow, receiver)
    delete(page, "on_call")
    expect(page.get_by_role("heading", name="No webhooks yet")).to_be_visible()
    shown = airflow.cli("webhooks", "list", "--output", "json").stdout
    assert json.loads(shown.splitlines()[-1]) == []


#: A script, what turns text round, what joins, lines, and more than any place has room for.
HOSTILE = "<script>window.hacked = 1</script>\u202eevil\u202c שלום 👩‍👩‍👧 \n\"'&lt; " + "n" * 10_000
ESCAPED = "<script>window.hacked = 1</script>\\u202eevil\\u202c שלום 👩‍👩‍👧"
HOSTILE_RUN = "<b>\u202erun\u202c & 100 %? #1"


@pytest.fixture(scope="module")
def hostile(paged: AirflowUnderTest) -> Iterator[str]:
    """The id of a webhook whose every text is hostile, that hears of a run whose every text is, and fails."""
    answer = Answer(500, body=f"</pre>{HOSTILE}".encode())
    with RecordingServer(answer) as server:
        extra = {"allow_http": True, "dags": ["hostile", HOSTILE[:500]], "tags": [HOSTILE[:500]], "level": "both"}
        fields = {"conn_type": "webhook", "host": server.url("/x?<script>"), "password": "whsec_" + "A" * 32}
        paged.add_connection("hostile", description=HOSTILE, extra=json.dumps(extra), **fields)
        paged.trigger("hostile", run_id="says", conf={"message": HOSTILE})
        # Airflow does not get to run its tasks, which fail all the same.
        paged.trigger("hostile", run_id=HOSTILE_RUN)
        for run_id in ("says", HOSTILE_RUN):
            assert paged.wait_for_run("hostile", run_id) == "failed"
        yield "hostile"


def test_hostile_texts_are_texts_and_keep_to_their_places(
    browser: Browser, paged: AirflowUnderTest, hostile: str
) -> None:
    with person(browser, paged, "admin", size=PHONE) as admin:
        page = admin.show()
        listed = row(page, ESCAPED)
        expect(listed).to_have_count(1)
        assert too_wide(page) == []
        listed.get_by_role("link").first.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text(ESCAPED)
        expect(page.locator("#main")).to_contain_text("/x?<script>")
        failed = row(page, "hostile.fails failed").filter(has_text="says")
        expect(failed.get_by_text("Dead letter")).to_be_visible()
        expect(row(page, "hostile failed").filter(has_text="<b>\\u202erun\\u202c & 100 %? #1")).to_have_count(1)
        assert too_wide(page) == []
        page.get_by_role("button", name="Pause").click()
        page.get_by_label("Reason").fill(HOSTILE.replace("\n", " ")[:200])
        page.get_by_role("dialog").get_by_role("button", name="Pause").click()
        expect(page.locator(".note").first).to_contain_text("\\u202eevil")
        assert too_wide(page) == []
        failed.get_by_role("link").first.click()
        expect(page.get_by_label("Start of the response to attempt 3")).to_contain_text(f"</pre>{ESCAPED}")
        expect(page.get_by_label("The payload")).to_contain_text("ValueError: <script>")
        assert too_wide(page) == []
        page.goto(f"{paged.url}/webhook-notify/deliveries?{urlencode({'run': HOSTILE_RUN, 'dag': HOSTILE[:200]})}")
        expect(page.get_by_role("heading", name="No such deliveries")).to_be_visible()
        page.get_by_label("DAG").fill("")
        page.get_by_role("button", name="Filter").click()
        expect(row(page, "hostile failed")).to_have_count(1)
        assert too_wide(page) == []
        assert page.evaluate("window.hacked") is None


@pytest.fixture
def subscribed(paged: AirflowUnderTest, receiver: RecordingServer) -> Iterator[None]:
    """A webhook that hears of all about `orders`."""
    extra = json.dumps({"allow_http": True, "dags": ["orders"], "level": "both"})
    fields = {"conn_type": "webhook", "host": receiver.url(), "password": "whsec_" + "A" * 32}
    paged.add_connection("subscribed", **fields, extra=extra)
    yield
    paged.api("DELETE", "/connections/subscribed")


def test_the_tabs_of_a_run_and_of_a_task_show_their_deliveries(admin: Person, subscribed: None) -> None:
    for run_id in ("tab:one+1", "tab:two+1"):
        admin.airflow.trigger("orders", run_id=run_id)
    for run_id in ("tab:one+1", "tab:two+1"):
        assert admin.airflow.wait_for_run("orders", run_id) == "success"
    run = admin.open_tab("/dags/orders/runs/tab:one+1", "webhook-notify-run")
    expect(run.get_by_role("heading", level=1)).to_have_text("Deliveries of this run")
    # Of four task instances and of the run; none of the other run.
    expect(row(run, "succeeded")).to_have_count(5)
    task = admin.open_tab("/dags/orders/runs/tab:one+1/tasks/load", "webhook-notify-task")
    expect(row(task, "orders.load")).to_have_count(2)
    expect(row(task, "orders")).to_have_count(2)
    task.get_by_label("Try").fill("2")
    task.get_by_role("button", name="Filter").click()
    expect(task.get_by_role("heading", name="No such deliveries")).to_be_visible()
    mapped = admin.open_tab("/dags/orders/runs/tab:one+1/tasks/counts/mapped/1", "webhook-notify-task")
    expect(row(mapped, "orders.counts [1]")).to_have_count(2)
    expect(row(mapped, "orders")).to_have_count(2)
    row(mapped, "succeeded").get_by_role("link").first.click()
    expect(mapped.get_by_label("The payload")).to_contain_text('"MapIndex": 1')


def test_a_viewer_gets_airflows_own_answer(browser: Browser, paged: AirflowUnderTest) -> None:
    with person(browser, paged, "viewer") as viewer:
        for path in ("", "deliveries", "webhook?id=x", "v1/webhooks", "static/x/page.css"):
            answer = viewer.page.request.get(f"{paged.url}/webhook-notify/{path}")
            assert (answer.status, answer.json()) == (403, {"detail": "Forbidden"}), path


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everyone_can_read_it(browser: Browser, paged: AirflowUnderTest, hostile: str, theme: Theme) -> None:
    with person(browser, paged, "admin", theme=theme) as admin:
        page = admin.show()
        assert page.locator("html").get_attribute("data-theme") == theme
        assert serious_findings(page) == []
        page.get_by_role("button", name="Add webhook").first.click()
        page.get_by_text("Advanced").click()
        page.get_by_role("button", name="Add a header").click()
        assert serious_findings(page) == []
        page.keyboard.press("Escape")
        row(page, "hostile").get_by_role("link").first.click()
        expect(page.get_by_role("heading", name="Settings")).to_be_visible()
        assert serious_findings(page) == []
        for name in ("Ping", "Edit", "Rotate signing secret", "Delete"):
            page.get_by_role("button", name=name, exact=True).click()
            expect(page.get_by_role("dialog")).to_be_visible()
            assert serious_findings(page) == [], name
            page.keyboard.press("Escape")
        page.get_by_role("link", name="All deliveries").click()
        expect(row(page, "hostile").first).to_be_visible()
        assert serious_findings(page) == []
        row(page, "hostile").first.get_by_role("link").first.click()
        expect(page.get_by_role("heading", name="Request headers")).to_be_visible()
        assert serious_findings(page) == []


def test_the_keyboard_is_enough(admin: Person, receiver: RecordingServer) -> None:
    page = admin.show()
    add_by_keyboard(page, receiver.url())
    keys = page.keyboard
    reach(page, "Ping")
    keys.press("Enter")
    expect(page.get_by_role("dialog", name="Ping")).to_be_visible()
    reach(page, "Send a ping")
    keys.press("Enter")
    expect(page.locator("[data-outcome]")).to_be_focused()
    keys.press("Escape")
    expect(page.get_by_role("button", name="Ping", exact=True)).to_be_focused()
    receiver.wait_for(1)
    reach(page, "Delete")
    keys.press("Enter")
    keys.type("by_hand")
    keys.press("Enter")
    expect(page.locator("#said")).to_have_text("The webhook is deleted.")
    # The browser's own word for what the server refused.
    assert ["422" in complaint for complaint in admin.complaints] == [True]
    admin.complaints.clear()


def test_it_says_when_it_is_not_live_any_more(admin: Person, hostile: str) -> None:
    page = admin.show("deliveries")
    row(page, "hostile").first.get_by_role("link").first.focus()
    page.context.set_offline(True)
    expect(page.locator("#live")).to_contain_text("Not live since")
    page.context.set_offline(False)
    expect(page.locator("#live")).to_have_text("Live")
    expect(row(page, "hostile").first.get_by_role("link").first).to_be_focused()
    # The browser's own words for the requests that could not be made.
    assert all("ERR_INTERNET_DISCONNECTED" in complaint for complaint in admin.complaints)
    admin.complaints.clear()


def test_it_follows_airflows_theme_and_copies_without_permission(admin: Person, hostile: str) -> None:
    frame = admin.open_webhooks()
    theme = frame.locator("html")
    expect(theme).to_have_attribute("data-theme", "light")
    admin.page.evaluate("document.documentElement.classList.replace('light', 'dark')")
    expect(theme).to_have_attribute("data-theme", "dark")
    row(frame, "hostile").get_by_role("link").first.click()
    frame.get_by_role("link", name="All deliveries").click()
    row(frame, "hostile").first.get_by_role("link").first.click()
    expect(frame.get_by_label("The payload")).to_be_visible()
    frame.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error('no permission')))")
    frame.get_by_role("button", name="Copy", exact=True).click()
    expect(frame.locator("#said")).not_to_be_empty()
    assert frame.evaluate("getSelection().toString()").startswith('{\n  "Id"')


def test_two_hundred_webhooks_are_found_by_a_word(admin: Person, hostile: str) -> None:
    fields = {"conn_type": "webhook", "host": "https://hooks.example.com/x", "password": "whsec_" + "A" * 32}
    connections = [
        {"connection_id": f"many_{number:03}", "description": f"Team {number:03}", **fields} for number in range(200)
    ]
    admin.airflow.api("PATCH", "/connections", json={"actions": [{"action": "create", "entities": connections}]})
    page = admin.show()
    expect(page.locator("#count")).to_have_text(re.compile("^20[0-9] webhooks$"))
    page.get_by_label("Filter the webhooks").fill("team 07")
    # 007, 107, and 070 to 079.
    expect(page.locator("tbody tr:visible")).to_have_count(12)
    with page.expect_response(lambda response: response.url.endswith("/webhook-notify/")):
        pass
    expect(page.locator("tbody tr:visible")).to_have_count(12)
    expect(page.locator("#count")).to_have_text(re.compile("^12 of 20[0-9] webhooks$"))
    page.get_by_label("Filter the webhooks").fill("nothing of the kind")
    expect(page.get_by_text("No webhook has all of these words.")).to_be_visible()
    ids = [each["connection_id"] for each in connections]
    admin.airflow.api("PATCH", "/connections", json={"actions": [{"action": "delete", "entities": ids}]})
