"""What a person does on the Webhooks page, step by step.

Invariant: each step ends once the page shows what it led to.
"""

from __future__ import annotations

import json

from playwright.sync_api import Frame, Page, expect

from tests.acceptance.airflow_under_test import AirflowUnderTest
from tests.acceptance.browser import row
from tests.servers import RecordingServer, Request
from tests.verifiers import RefusedError, verify_with_standardwebhooks


def add(page: Page | Frame, nickname: str, endpoint: str, *, dags: str = "") -> str:
    """Add a webhook and return its signing secret; it has the id that the page suggests."""
    page.get_by_role("button", name="Add webhook").first.click()
    form = page.get_by_role("dialog", name="Add webhook")
    form.get_by_label("Nickname").fill(nickname)
    form.get_by_label("Endpoint URL").fill(endpoint)
    form.get_by_label("DAGs", exact=True).fill(dags)
    form.get_by_label("Level").select_option("both")
    form.get_by_text("Advanced").click()
    form.get_by_label("Allow http").check()
    form.get_by_role("button", name="Add webhook").click()
    return take_secret(page, "Signing secret")


def take_secret(page: Page | Frame, heading: str) -> str:
    """Return the secret of the dialog that shows it, and close the dialog."""
    dialog = page.get_by_role("dialog", name=heading)
    secret = dialog.get_by_label("Signing secret", exact=True).inner_text()
    assert secret.startswith("whsec_")
    dialog.get_by_role("button", name="I have it").click()
    return secret


def ping(page: Page | Frame) -> None:
    """Send a ping from the page of a webhook and wait for its outcome."""
    page.get_by_role("button", name="Ping", exact=True).click()
    page.get_by_role("dialog", name="Ping").get_by_role("button", name="Send a ping").click()
    expect(page.get_by_role("dialog", name="Ping").locator("[data-outcome]")).to_be_visible()


def verified(request: Request, secret: str) -> bool:
    """Whether a library that is not ours takes the request."""
    try:
        verify_with_standardwebhooks(request.body, request.header_map, secret)
    except RefusedError:
        return False
    return True


def run_orders(airflow: AirflowUnderTest, run_id: str, *, status: int = 0) -> None:
    """Run the DAG `orders` to its end.

    :param status: what its task `load` exits with
    """
    airflow.trigger("orders", run_id=run_id, conf={"exit": status})
    assert airflow.wait_for_run("orders", run_id) == ("failed" if status else "success")


def see_a_failure_and_redeliver_it(page: Page | Frame, receiver: RecordingServer) -> None:
    """Open the delivery of a failed task that the endpoint did not take, and send it again, now that it does."""
    failed = row(page, "orders.load failed")
    expect(failed.get_by_text("Dead letter")).to_be_visible()
    failed.get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="Attempt 3")).to_be_visible()
    expect(page.locator(".attempts .badge")).to_have_text(["503", "503", "503"])
    expect(page.get_by_label("The payload")).to_contain_text('"ExitStatus": 7')
    receiver.answer_with(200)
    page.get_by_role("button", name="Redeliver").click()
    page.get_by_role("dialog").get_by_role("button", name="Redeliver").click()
    expect(page.get_by_role("heading", name="Attempt 4")).to_be_visible()
    expect(page.locator(".head .badge")).to_have_text("Delivered")


def redeliver_the_other_dead_letters(page: Page | Frame) -> None:
    """Send again all that the filters of the delivery log show, and come back to the delivery that was seen before."""
    page.get_by_role("link", name="← Deliveries").click()
    page.get_by_label("State").select_option("dead_letter")
    page.get_by_role("button", name="Filter").click()
    expect(row(page, "orders.load started").get_by_text("Dead letter")).to_be_visible()
    page.get_by_role("button", name="Redeliver dead letters…").click()
    question = page.get_by_role("dialog", name="Redeliver dead letters?")
    expect(question).to_contain_text("are sent again")
    question.get_by_role("button", name="Redeliver").click()
    expect(page.get_by_role("heading", name="No such deliveries")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    row(page, "orders.load failed").get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="Attempt 4")).to_be_visible()


def edit(page: Page | Frame) -> None:
    """Give the webhook another nickname and one topic less."""
    page.get_by_role("button", name="Edit", exact=True).click()
    form = page.get_by_role("dialog", name="Edit webhook")
    form.get_by_label("Nickname").fill("Second line")
    form.get_by_label("started", exact=True).uncheck()
    form.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name="Second line")).to_be_visible()


def rotate(page: Page | Frame, receiver: RecordingServer, old: str) -> None:
    """Rotate the signing secret, and check that both verify what is sent then."""
    page.get_by_role("button", name="Rotate signing secret").click()
    page.get_by_role("dialog").get_by_role("button", name="Rotate").click()
    new = take_secret(page, "New signing secret")
    ping(page)
    page.get_by_role("dialog", name="Ping").get_by_role("button", name="Close").click()
    last = receiver.requests[-1]
    assert json.loads(last.body)["Topic"] == "webhook.ping"
    assert new != old
    assert (verified(last, new), verified(last, old)) == (True, True)


def pause_and_resume(page: Page | Frame, airflow: AirflowUnderTest, receiver: RecordingServer) -> None:
    """Pause the webhook, see that a run's deliveries wait, and resume it."""
    page.get_by_role("button", name="Pause").click()
    paused = page.get_by_role("dialog")
    paused.get_by_label("Reason").fill("They migrate until Thursday")
    paused.get_by_role("button", name="Pause").click()
    expect(page.locator(".note")).to_contain_text("They migrate until Thursday")
    so_far = len(receiver.requests)
    run_orders(airflow, "third")
    expect(row(page, "of third").first).to_contain_text("waits until the webhook is resumed")
    assert len(receiver.requests) == so_far
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(row(page, "orders succeeded").get_by_text("Delivered").first).to_be_visible()


def delete(page: Page | Frame, conn_id: str) -> None:
    """Delete the webhook, not without its id."""
    page.get_by_role("button", name="Delete").click()
    question = page.get_by_role("dialog")
    question.get_by_role("button", name="Delete").click()
    expect(question.get_by_text("Type the webhook's id")).to_be_visible()
    question.get_by_label(f"Type {conn_id}").fill(conn_id)
    question.get_by_role("button", name="Delete").click()
    expect(page.get_by_role("heading", name="Webhooks", exact=True)).to_be_visible()


def reach(page: Page, words: str) -> None:
    """Press the tab key until what has these words has the focus."""
    for _ in range(80):
        page.keyboard.press("Tab")
        focused = "document.activeElement.labels?.[0]?.innerText || document.activeElement.innerText"
        if page.evaluate(focused) == words:
            return
    raise AssertionError(f"the focus never got to {words!r}")


def add_by_keyboard(page: Page, endpoint: str) -> None:
    """Add the webhook `by_hand`, at first with an endpoint that is refused."""
    keys = page.keyboard
    reach(page, "Add webhook")
    keys.press("Enter")
    keys.type("By hand")
    reach(page, "Endpoint URL")
    keys.type("http://127.0.0.1:1/")
    reach(page, "Advanced")
    keys.press("Enter")
    reach(page, "Add webhook")
    keys.press("Enter")
    # Refused, beside its field, which has the focus.
    expect(page.locator("#e-endpoint")).to_contain_text("is plain http")
    expect(page.get_by_label("Endpoint URL")).to_be_focused()
    keys.press("Control+A")
    keys.type(endpoint)
    reach(page, "Allow http")
    keys.press("Space")
    reach(page, "Add webhook")
    keys.press("Enter")
    expect(page.get_by_role("button", name="Copy", exact=True)).to_be_focused()
    keys.press("Escape")
    # Once is not enough to lose the secret.
    expect(page.get_by_role("dialog")).to_contain_text("it is not shown again")
    reach(page, "I have it, close")
    keys.press("Enter")
    expect(page.get_by_role("heading", name="By hand")).to_be_visible()
