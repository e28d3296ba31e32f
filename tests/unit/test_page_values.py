"""What the page's templates get to show, by value."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree

import pytest

from airflow_webhook_notify.api import charts, static_files
from airflow_webhook_notify.api.log_query import LogQuery
from airflow_webhook_notify.api.rendering import SNIPPET, _percent, pretty_json, render, visible
from airflow_webhook_notify.outbox.records import DeliveryFilter, Hour
from airflow_webhook_notify.plugin import WebhookNotifyPlugin

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
NOW = 1_764_000_000_000


def test_the_snippet_is_the_one_of_the_readme() -> None:
    assert f"```python\n{SNIPPET}```" in README


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, prüfung, 東京, שלום", "plain, prüfung, 東京, שלום"),
        ("👩‍👩‍👧 joined", "👩‍👩‍👧 joined"),
        ("a\tb\nc", "a\tb\nc"),
        ("\u202eevil\u202c", "\\u202eevil\\u202c"),
        ("\u2066x\u2069 \u200b\ufeff\u00ad", "\\u2066x\\u2069 \\u200b\\ufeff\\u00ad"),
        ("\x00\x1b[31m\r\x7f", "\\u0000\\u001b[31m\\u000d\\u007f"),
        ("half \ud83d of one", "half \\ud83d of one"),
    ],
)
def test_what_nobody_could_see_is_written_as_its_escape(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_payload_that_is_copied_is_still_the_same() -> None:
    payload = {"Message": "\u202e<b>\x00\ud83d\ufeff 東京 👍", "Count": 1}
    assert json.loads(pretty_json(payload)) == payload
    pretty_json(payload).encode()


@pytest.mark.parametrize(
    ("share", "words"), [(1.0, "100 %"), (0.9999, "99.9 %"), (0.29, "29.0 %"), (0.001, "0.1 %"), (0.0, "0.0 %")]
)
def test_a_failure_never_reads_as_none(share: float, words: str) -> None:
    assert _percent(share) == words


def test_the_highest_bar_is_as_high_as_may_be_and_failures_stand_on_what_was_delivered() -> None:
    hours = [Hour()] * 21 + [Hour(50, 50), Hour(0, 0), Hour(1000, 1)]
    drawn = charts.bars(hours)
    assert [bar.x for bar in drawn] == list(range(0, 240, 10))
    assert drawn[21][1:] == (6.0, 6.0, "3 to 2 hours ago: 50 delivered, 50 failed")
    assert drawn[22][1:3] == (0.0, 0.0)
    assert drawn[23][1:] == (90.0, 6.0, "The last hour: 1,000 delivered, 1 failed")


def test_bars_of_a_kind_are_one_outline() -> None:
    drawn = charts.bars([Hour(2, 0), Hour(), Hour(1, 1)])
    assert charts.outline(drawn, failed=False) == "M0 100v-96h8v96zM20 100v-48h8v48z"
    assert charts.outline(drawn, failed=True) == "M20 52v-48h8v48z"


def test_the_chart_says_what_it_shows() -> None:
    assert charts.in_words([Hour()] * 24) == "Nothing in the last 24 hours"
    hours = [Hour()] * 22 + [Hour(7, 2), Hour(1, 0)]
    expected = "Last 24 hours: 8 delivered, 2 failed; most in one hour: 9 (2 to 1 hours ago)"
    assert charts.in_words(hours) == expected


def test_an_address_becomes_a_filter() -> None:
    asked = LogQuery.of({"state": "dead_letter", "dag": " etl ", "map_index": "{MAP_INDEX}", "since": "1h", "tab": "x"})
    assert asked.tab == ""
    wanted = asked.filter(now=NOW)
    assert (wanted.state, wanted.dag_id, wanted.map_index, wanted.since) == (
        "dead_letter",
        "etl",
        None,
        NOW - 3_600_000,
    )
    assert LogQuery.of({}).filter(now=NOW) == DeliveryFilter()
    assert asked.address(cursor="5:x") == "?state=dead_letter&dag=etl&map_index=%7BMAP_INDEX%7D&since=1h&cursor=5%3Ax"


def test_what_a_tab_is_about_is_no_filter() -> None:
    tab = {"tab": "task", "dag": "etl", "run": "r", "task": "load"}
    assert not LogQuery.of(tab).filtered
    assert LogQuery.of({**tab, "try_number": "2"}).filtered
    assert LogQuery.of({"dag": "etl"}).filtered


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"state": "lost"},
            "'lost' is no state of a delivery; the states are pending, delivered, dead_letter, cancelled",
        ),
        ({"try_number": "two"}, "'two' is no number of a try; the first is 1"),
        ({"try_number": "9" * 30}, f"'{'9' * 30}' is no number of a try; the first is 1"),
        ({"map_index": "٣"}, "'٣' is no number of a try; the first is 1"),
        ({"since": "soon"}, "'soon' is no moment"),
        ({"dag": "a\0b"}, "dag: has a NUL, which no name has"),
    ],
)
def test_what_can_not_be_read_is_said(given: dict[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(words)}"):
        LogQuery.of(given).filter(now=NOW)


def test_every_file_that_a_page_asks_for_is_served() -> None:
    folder = Path(static_files.__file__).parent
    served = static_files.files()
    for template in (folder / "templates").glob("*.html"):
        for name in re.findall(r"{{ static }}/([\w.]+)", template.read_text(encoding="utf-8")):
            assert name in served, name
    for name, file in served.items():
        for imported in re.findall(rb'from "\./([\w.]+)"', file.content):
            assert imported.decode() in served, name
    assert len(static_files.version()) == 12


def test_no_template_has_what_the_policy_forbids() -> None:
    folder = Path(static_files.__file__).parent / "templates"
    for template in folder.glob("*.html"):
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"\sstyle=|\son\w+=|<style|javascript:|<script(?! [^>]*src=)|\|safe", text), template.name


def test_a_page_shows_hostile_words_as_words() -> None:
    words = "</p><script>alert(1)</script>\u202e"
    page = render("trouble.html", {"root": "/x", "static": "/x/s", "here": "", "heading": words, "words": words})
    assert "<script>alert" not in page
    assert "&lt;/p&gt;&lt;script&gt;alert(1)&lt;/script&gt;\\u202e" in page


def test_the_page_stands_in_the_navigation_and_beside_runs_and_tasks() -> None:
    views = {view["destination"]: view for view in WebhookNotifyPlugin().external_views}
    assert {name: view["href"] for name, view in views.items()} == {
        "nav": "/webhook-notify/",
        "dag_run": "/webhook-notify/deliveries?tab=run&dag={DAG_ID}&run={RUN_ID}",
        "task_instance": "/webhook-notify/deliveries?tab=task&dag={DAG_ID}&run={RUN_ID}&task={TASK_ID}"
        "&map_index={MAP_INDEX}",
    }
    assert len({view["url_route"] for view in views.values()}) == 3
    for view in views.values():
        for icon in (view["icon"], view["icon_dark_mode"]):
            ElementTree.fromstring(unquote(icon.partition(",")[2]))  # noqa: S314 - it is our own


def test_the_links_have_the_path_of_airflows_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://example.com/team/airflow/")
    (nav, *_) = WebhookNotifyPlugin().external_views
    assert nav["href"] == "/team/airflow/webhook-notify/"
