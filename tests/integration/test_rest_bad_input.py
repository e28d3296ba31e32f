"""What docs/bad-input.md says of the REST API is what it answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.rest import Api
from tests.unit.test_bad_input_doc import Row, named
from tests.webhooks import define


@pytest.mark.parametrize("row", named("rest"))
def test_a_bad_request(api: Api, monkeypatch: pytest.MonkeyPatch, row: Row) -> None:
    api.post("/v1/webhooks", {"id": "ops", "endpoint": "https://hooks.example.com/"}, status=201)
    define(monkeypatch, "in_env", "https://hooks.example.com/")
    method, path, body = (*row.given.split(" ", 2), "")[:3]
    sent: dict[str, Any] = {"data": body, "headers": {"Content-Type": "application/json"}} if body else {}
    answer = api.ask(method, f"/v1/{path}", **sent)
    said = f"{answer.status_code} {answer.json()['detail']}"
    assert said.startswith(row.text[:-1]) if row.text.endswith("…") else said == row.text
