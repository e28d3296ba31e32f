"""A real Chromium with a person at it.

Invariant: whatever a page complains of, in its console or by an exception, is kept, and a test that does not look at
it fails.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Frame, Locator, Page, expect, sync_playwright

from tests.acceptance.airflow_under_test import AirflowUnderTest
from tests.verifiers import NODE, require_node

Theme = Literal["light", "dark"]
#: How long the browser waits for what a test expects, in milliseconds: reached only where a test fails.
PATIENCE = 40_000.0
WIDE, PHONE = (1280, 900), (360, 740)
_SERIOUS = ("serious", "critical")


def why_no_browser() -> str | None:
    """Return why no browser can run here; None where one can."""
    if shutil.which("chromium") is None:
        return "the browser is not installed (Debian: apt-get install chromium)"
    return None


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the system's Chromium for the length of a `with`."""
    expect.set_options(timeout=PATIENCE)
    # Chromium refuses its sandbox to root.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=arguments)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Person:
    """Somebody who is signed in to Airflow, with a browser window."""

    airflow: AirflowUnderTest
    page: Page
    complaints: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Keep what the page complains of from now on."""
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url')})")

    def sign_in(self, name: str) -> None:
        """Sign in on Airflow's own page."""
        self.page.goto(f"{self.airflow.url}/")
        self.page.get_by_label("Username").fill(name)
        self.page.get_by_label("Password").fill(self.airflow.users[name])
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_test_id("nav-sidebar").or_(self.page.locator("nav")).first).to_be_visible()

    def show(self, path: str = "") -> Page:
        """Open a page of ours outside Airflow's frame."""
        self.page.goto(f"{self.airflow.url}/webhook-notify/{path}")
        return self.page

    def open_webhooks(self) -> Frame:
        """Open the Webhooks page from Airflow's navigation, and return the frame that Airflow shows it in."""
        self.page.goto(f"{self.airflow.url}/")
        self.page.get_by_text("Webhooks", exact=True).first.click()
        return self.frame()

    def open_tab(self, path: str, route: str) -> Frame:
        """Open the tab of ours on one of Airflow's pages, and return its frame.

        :param route: the tab's `url_route`
        """
        self.page.goto(f"{self.airflow.url}{path}")
        self.page.locator(f'a[href*="/plugin/{route}"]').click()
        return self.frame()

    def frame(self) -> Frame:
        """Return the frame of ours, once its page is there."""
        shown = self.page.locator('iframe[title="Webhooks"]')
        expect(shown).to_be_visible()
        expect(self.page.frame_locator('iframe[title="Webhooks"]').locator("h1")).to_be_visible()
        frame = shown.element_handle().content_frame()
        assert frame is not None
        return frame

    def set_theme(self, theme: Theme) -> None:
        """Choose a theme as Airflow's own menu does."""
        self.page.evaluate("theme => localStorage.setItem('theme', theme)", theme)
        self.page.reload()

    def assert_content(self) -> None:
        """Check that no page has complained."""
        assert self.complaints == []


@contextmanager
def person(
    browser: Browser, airflow: AirflowUnderTest, name: str, *, size: tuple[int, int] = WIDE, theme: Theme = "light"
) -> Iterator[Person]:
    """Give somebody a window of a browser, signed in, and check at the end that no page has complained."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=theme,
        locale="en-GB",
        timezone_id="Europe/Berlin",
        reduced_motion="reduce",
    )
    context.set_default_timeout(PATIENCE)
    try:
        somebody = Person(airflow, context.new_page())
        somebody.sign_in(name)
        # Not before: Airflow's own login page is answered 401 first, and the console says so.
        somebody.watch()
        yield somebody
        somebody.assert_content()
    finally:
        context.close()


@functools.cache
def _axe() -> str:
    return (NODE / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def serious_findings(page: Page | Frame) -> list[str]:
    """Return what axe-core finds on a page that is serious or worse, and where."""
    require_node()
    page.evaluate(_axe())
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{each['id']}: {node['html'][:200]} {node['failureSummary']}"
        for each in found["violations"]
        for node in each["nodes"]
        if each["impact"] in _SERIOUS
    ]


def too_wide(page: Page | Frame) -> list[str]:
    """Return what makes the page wider than its window; empty where all fits."""
    found: list[str] = page.evaluate(
        """() => {
          const width = document.documentElement.clientWidth;
          if (document.documentElement.scrollWidth <= width) return [];
          return [...document.querySelectorAll("body *")]
            .filter((each) => each.getBoundingClientRect().right > width + 1)
            .map((each) => each.outerHTML.slice(0, 200));
        }"""
    )
    return found


def row(page: Page | Frame, words: str) -> Locator:
    """Return the row of the table that has these words."""
    return page.locator("tbody tr").filter(has_text=re.compile(re.escape(words)))


def require_browser() -> None:
    """Skip the test, with the reason, where no browser can run."""
    if reason := why_no_browser():
        pytest.skip(reason)
