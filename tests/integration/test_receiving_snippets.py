"""What docs/receiving.md shows is run: it takes genuine requests and refuses the rest."""

from __future__ import annotations

import base64
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from airflow_webhook_notify.exceptions import VerificationError
from airflow_webhook_notify.schema import payload_schema
from airflow_webhook_notify.signing import generate_secret, sign
from tests.verifiers import NODE, require_node

ROOT = Path(__file__).parents[2]
DOC = (ROOT / "docs" / "receiving.md").read_text(encoding="utf-8")
BLOCKS: dict[str, str] = dict(re.findall(r"^<!-- (\w+: [^\n]+) -->\n```\w+\n(.*?)^```$", DOC, re.M | re.S))
EVENT = "5f1b2c7e-2f6d-5a3c-9c07-2f0f2a1b9e44"
BODY = json.dumps(json.loads(BLOCKS["sample: failed task"]), separators=(",", ":")).encode()


@dataclass(frozen=True)
class Request:
    """What a receiver is given."""

    body: bytes
    headers: Mapping[str, str]


def signed(*secrets: str, body: bytes = BODY, age: int = 0, event: str = EVENT) -> Request:
    return Request(body, sign(body, secrets, message_id=event, timestamp=int(time.time()) - age))


def requests_of(secret: str) -> dict[str, Request]:
    genuine = signed(secret)
    return {
        "genuine": genuine,
        "genuine, from a rotation": signed(secret, generate_secret()),
        "stale": signed(secret, age=600),
        "tampered": Request(BODY.replace(b'"ExitStatus":7', b'"ExitStatus":0'), genuine.headers),
        "another secret": signed(generate_secret()),
        "unsigned": Request(BODY, {"Content-Type": "application/json"}),
        "garbled": Request(BODY, dict.fromkeys(genuine.headers, "v1,é")),
    }


def taken_by_python(snippet: str, requests: list[Request]) -> list[str | None]:
    namespace: dict[str, Any] = {}
    # The doc is ours, and running it is the point.
    exec(compile(snippet, "docs/receiving.md", "exec"), namespace)  # noqa: S102
    read_event: Callable[[bytes, Message], dict[str, str]] = namespace["read_event"]

    def outcome(request: Request) -> str | None:
        try:
            return read_event(request.body, as_received(request.headers))["Id"]
        except (PermissionError, VerificationError):
            # Nothing else: a slip of the snippet must not pass for a refusal.
            return None

    return [outcome(request) for request in requests]


def as_received(headers: Mapping[str, str]) -> Message:
    """Return the headers as a server holds them, in a case that is not ours."""
    message = Message()
    for name, value in headers.items():
        message[name.title()] = value
    return message


def taken_by_node(snippet: str, requests: list[Request], folder: Path, secret: str) -> list[str | None]:
    require_node()
    (folder / "node_modules").symlink_to(NODE / "node_modules", target_is_directory=True)
    module = folder / "snippet.mjs"
    module.write_text(snippet, encoding="utf-8")
    given = [
        {
            "body": base64.b64encode(request.body).decode(),
            "headers": {name.lower(): value for name, value in request.headers.items()},
        }
        for request in requests
    ]
    done = subprocess.run(
        ["node", str(NODE / "run_snippet.mjs"), str(module)],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        env={**os.environ, "WEBHOOK_SECRET": secret},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    outcomes: list[str | None] = json.loads(done.stdout)
    return outcomes


SNIPPETS = [name for name in BLOCKS if re.match("snippet: (python|javascript), ", name)]
#: These take a text as the secret too, with no change.
ANY_SECRET = ["snippet: python, this package", "snippet: python, standard library", "snippet: javascript, node:crypto"]


def test_the_doc_shows_three_ways_in_each_language() -> None:
    languages = [name.split()[1] for name in SNIPPETS]
    assert (languages.count("python,"), languages.count("javascript,")) == (3, 3)
    # None that no test runs.
    assert len(re.findall(r"^```(?:python|javascript)$", DOC, re.M)) == len(SNIPPETS) + 1
    assert "snippet: receiver" in BLOCKS


@pytest.mark.parametrize(
    ("name", "secret"),
    [(name, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") for name in SNIPPETS]
    + [(name, "schlüssel für 東京") for name in ANY_SECRET],
)
def test_a_snippet_takes_genuine_requests_and_no_others(
    name: str, secret: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    requests = requests_of(secret)
    expected = {"genuine", "genuine, from a rotation"}
    if name == "snippet: javascript, octokit":
        # As the doc says of it: GitHub's dialect has no timestamp.
        expected.add("stale")
    if name.startswith("snippet: python"):
        outcomes = taken_by_python(BLOCKS[name], list(requests.values()))
    else:
        outcomes = taken_by_node(BLOCKS[name], list(requests.values()), tmp_path, secret)
    assert outcomes == [EVENT if case in expected else None for case in requests]


@contextmanager
def receiver(secrets: str, folder: Path) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    program = folder / "receiver.py"
    program.write_text(BLOCKS["snippet: receiver"], encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, str(program)],
        env={**os.environ, "WEBHOOK_SECRETS": secrets, "PORT": "0", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline().rpartition(" ")[2]), process
        finally:
            process.terminate()


def post(port: int, request: Request) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        headers = {name: value.encode() for name, value in request.headers.items()}
        connection.request("POST", "/", request.body, headers)
        return connection.getresponse().status


def test_the_whole_receiver_verifies_passes_over_what_it_has_seen_and_answers(tmp_path: Path) -> None:
    new, old = generate_secret(), generate_secret()
    ping = json.dumps(json.loads(BLOCKS["sample: ping"])).encode()
    with receiver(f"{new} {old}", tmp_path) as (port, process):
        cases = requests_of(new)
        statuses = {case: post(port, request) for case, request in cases.items()}
        assert post(port, signed(old, body=ping, event="ping-1")) == 204
        stripped = {name: value for name, value in signed(new).headers.items() if name.startswith("X-")}
        assert post(port, Request(BODY, stripped)) == 401
        assert post(port, Request(b"", {"Content-Length": "1000000"})) == 413
        process.terminate()
        said = process.communicate(timeout=30)[0].splitlines()
    assert statuses == {case: 204 if case.startswith("genuine") else 401 for case in cases}
    job = "etl.load failed: AirflowException: Bash command failed. The command returned a non-zero exit code 7."
    assert [line for line in said if not line.startswith("refused: ")] == [
        job,
        "pinged by data-platform-production",
    ]
    assert len([line for line in said if line.startswith("refused: ")]) == 6
    assert not any(secret in line for line in said for secret in (new, old))


@pytest.mark.parametrize("name", ["sample: failed task", "sample: roll-up", "sample: ping"])
def test_the_samples_are_valid_by_the_schema(name: str) -> None:
    Draft202012Validator(payload_schema()).validate(json.loads(BLOCKS[name]))


def test_the_table_names_every_field_of_the_schema() -> None:
    schema = payload_schema()
    schema["properties"]["Data"] = schema["$defs"]["JobExecution"]
    fields = set(paths_in(schema))
    rows = re.findall(r"^\| ((?:`[\w.]+`(?:, )?)+) \|", DOC, re.M)
    named: set[str] = set()
    for row in rows:
        first, *rest = re.findall(r"`([\w.]+)`", row)
        parent = first.rpartition(".")[0]
        named |= {first, *(parent + other if other.startswith(".") else other for other in rest)}
    assert fields - named == set()
    assert {name for name in named if name.startswith(("Data.", "Metadata."))} - fields == set()


def paths_in(schema: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in schema["properties"].items():
        if "properties" in value:
            yield from paths_in(value, f"{prefix}{name}.")
        else:
            yield prefix + name
