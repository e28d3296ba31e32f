"""The README stays short, its links lead somewhere, and its code runs."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_webhook_notify.exceptions import VerificationError
from airflow_webhook_notify.signing import generate_secret, sign

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)


def run(snippet: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    # The README is ours, and running it is the point.
    exec(compile(snippet, "README.md", "exec"), namespace)  # noqa: S102
    return namespace


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings_that_are_there(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?://)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        name, _, heading = link.partition("#")
        there = page.parent / name if name else page
        assert there.exists(), link
        assert not heading or heading in _headings(there), link


def _headings(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", title).strip().lower().replace(" ", "-") for title in titles}


def test_the_snippets_of_dag_code_run() -> None:
    dag, one, _ = SNIPPETS
    run(dag)
    assert callable(run(one)["load"])


def test_the_receiving_snippet_takes_what_is_genuine_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = generate_secret()
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    read_event = run(SNIPPETS[2])["read_event"]
    body = json.dumps({"Topic": "webhook.ping"}).encode()
    headers = sign(body, [secret], message_id="1", timestamp=int(time.time()))
    assert read_event(body, headers) == {"Topic": "webhook.ping"}
    with pytest.raises(VerificationError):
        read_event(body + b" ", headers)
