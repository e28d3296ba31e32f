"""The commands as a person types them: each a real `airflow` process."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from tests.acceptance.airflow_under_test import AirflowUnderTest
from tests.servers import RecordingServer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AUTHORIZATION = "Bearer the-authorization-value"
PATH = "/services/the-path-of-the-endpoint"
API_KEY = "the-api-key-in-a-header"
BESIDE = "airflow-provider-inbound-webhooks==0.2.0"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> AirflowUnderTest:
    """An Airflow of which nothing runs: the commands need its database alone."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "dags").mkdir()
    airflow = AirflowUnderTest(folder, folder / "dags")
    airflow.cli("db", "migrate")
    return airflow


def rows(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """Return what a command wrote with `--output json`: its standard output is that and no more."""
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


@contextmanager
def started(airflow: AirflowUnderTest, *arguments: str, stdin: int | IO[str] | None = None) -> Iterator[Any]:
    """An `airflow` process whose output is read as it comes."""
    command = [sys.executable, "-m", "airflow", *arguments]
    with subprocess.Popen(
        command,
        env=airflow.env,
        cwd=airflow.home,
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_webhook_from_its_making_to_a_verified_ping(home: AirflowUnderTest) -> None:
    listen = ("webhooks", "listen", "--port", "0", "--secret", SECRET, "--output", "json")
    with started(home, *listen) as listener:
        url = json.loads(listener.stdout.readline())["url"]
        added = home.cli(
            *("webhooks", "add", "local", "--endpoint", f"{url.rstrip('/')}{PATH}", "--allow-http", "-o", "json"),
            *("--authorization", AUTHORIZATION, "--secret", SECRET),
        )
        assert rows(added)[0]["conn_id"] == "local"
        pinged = home.cli("webhooks", "ping", "local", "--output", "json")
        heard = json.loads(listener.stdout.readline())
        assert (heard["verified"], heard["topic"], heard["status"]) == (True, "webhook.ping", 200)
        assert heard["id"] == rows(pinged)[0]["event_id"]
        assert heard["payload"]["Data"]["Id"] == "local"
        assert heard["headers"]["authorization"] == "present"
        listener.send_signal(signal.SIGTERM)
        rest, errors = listener.communicate(timeout=30)
    assert (listener.returncode, rest, errors) == (0, "", "")


def test_listen_ends_at_ctrl_c_without_a_traceback(home: AirflowUnderTest) -> None:
    with started(home, "webhooks", "listen", "--port", "0") as listener:
        assert listener.stdout.readline().startswith("Listening on http://127.0.0.1:")
        listener.send_signal(signal.SIGINT)
        rest, errors = listener.communicate(timeout=30)
    assert (listener.returncode, rest) == (0, "")
    assert "[webhook_notify] allowed_networks" in errors
    assert errors.count("\n") == 1


def test_a_relay_of_its_own_delivers_and_stops_cleanly(home: AirflowUnderTest) -> None:
    with RecordingServer(500, 200) as receiver:
        home.cli("webhooks", "add", "relayed", "--endpoint", receiver.url(PATH), "--allow-http", "--secret", SECRET)
        event_id = rows(home.cli("webhooks", "ping", "relayed", "-o", "json", check=False))[0]["event_id"]
        (logged,) = rows(home.cli("webhooks", "deliveries", "--webhook", "relayed", "-o", "json"))
        assert (logged["event_id"], logged["state"], logged["last_status"]) == (event_id, "cancelled", 500)
        home.cli("webhooks", "redeliver", logged["id"])
        with started(home, "webhooks", "relay", "--verbose") as relay:
            assert [request.header("webhook-id") for request in receiver.wait_for(2, timeout=60)] == [event_id] * 2
            relay.send_signal(signal.SIGTERM)
            out, errors = relay.communicate(timeout=60)
    said = out + errors
    assert relay.returncode == 0, said
    assert f"The relay runs as process {relay.pid}" in said
    assert "The relay has stopped: what was in flight has ended, the rest is given back" in said
    assert "Traceback" not in said
    (delivered,) = rows(home.cli("webhooks", "delivery", logged["id"], "-o", "json"))
    assert (delivered["state"], [each["status"] for each in delivered["attempts"]]) == ("delivered", [500, 200])
    assert not [text for text in (SECRET, PATH.strip("/")) if text in said + json.dumps(delivered)]


def test_a_relay_without_an_outbox_is_one_line(home: AirflowUnderTest, tmp_path: Path) -> None:
    empty = AirflowUnderTest(tmp_path, home.dags)
    ended = empty.cli("webhooks", "relay", check=False)
    assert ended.returncode == 1
    assert "Error: the outbox's tables are missing or too old; run `airflow db migrate`\n" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr


def test_a_failing_ping_in_full_detail_shows_no_credential(home: AirflowUnderTest) -> None:
    with RecordingServer(500) as receiver:
        added = home.cli(
            *("webhooks", "add", "failing", "--endpoint", receiver.url(PATH), "--allow-http", "--verbose"),
            *("--authorization", AUTHORIZATION, "--secret", SECRET, "--header", f"X-Api-Key: {API_KEY}"),
        )
        pinged = home.cli("webhooks", "ping", "failing", "--verbose", check=False)
        examined = home.cli("webhooks", "doctor", "failing", "--verbose", check=False)
    assert (pinged.returncode, examined.returncode) == (1, 1)
    assert "see the receiver's own log" in pinged.stderr
    said = "".join(done.stdout + done.stderr for done in (added, pinged, examined))
    logged = "".join(path.read_text() for path in home.home.rglob("*.log"))
    for credential in (AUTHORIZATION, SECRET, PATH.strip("/"), API_KEY):
        assert credential not in said + logged


def test_a_secret_that_is_typed_is_not_echoed(home: AirflowUnderTest) -> None:
    keyboard, terminal = pty.openpty()
    arguments = ("webhooks", "add", "typed", "--endpoint", "https://example.org/", "--secret", "-", "-o", "json")
    with started(home, *arguments, stdin=terminal) as process:
        # What is typed before the prompt is dropped.
        assert process.stderr.read(len("Signing secret: ")) == "Signing secret: "
        os.write(keyboard, f"{SECRET}\n".encode())
        out, errors = process.communicate(timeout=60)
    os.set_blocking(keyboard, False)
    with contextlib.suppress(BlockingIOError):
        assert SECRET.encode() not in os.read(keyboard, 65536)
    os.close(terminal)
    os.close(keyboard)
    assert process.returncode == 0, errors
    assert json.loads(out)[0]["secret"] is None
    assert SECRET not in out + errors
    assert rows(home.cli("webhooks", "show", "typed", "-o", "json"))[0]["state"] == "ok"


def test_a_database_that_was_never_made_is_one_line(home: AirflowUnderTest, tmp_path: Path) -> None:
    empty = AirflowUnderTest(tmp_path, home.dags)
    listed = empty.cli("webhooks", "list", check=False)
    assert (listed.returncode, listed.stdout) == (1, "")
    assert listed.stderr.startswith("Error: The metadata database can't be used (OperationalError): `airflow db check`")
    assert listed.stderr.count("\n") == 1


# --- beside another provider that has a group `webhooks` ------------------------------------------------------


def install(folder: Path) -> bool:
    """Install the other provider into a folder; whether that went well."""
    uv = shutil.which("uv")
    tool: Sequence[str] = [uv, "pip"] if uv else [sys.executable, "-m", "pip"]
    command = [*tool, "install", "--quiet", "--no-deps", "--target", str(folder), BESIDE]
    return subprocess.run(command, timeout=120, check=False).returncode == 0


@pytest.fixture(scope="module")
def beside(home: AirflowUnderTest, tmp_path_factory: pytest.TempPathFactory) -> AirflowUnderTest:
    """The same Airflow, with the other provider on its path."""
    folder = Path(sys.prefix) / "beside"
    if not folder.is_dir():
        folder = tmp_path_factory.mktemp("beside")
        if not install(folder):
            if os.environ.get("CI") == "true":
                pytest.fail(f"{BESIDE} can't be installed")
            pytest.skip(f"{BESIDE} can't be installed: no package index answers")
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return AirflowUnderTest(home.home, home.dags, environment={"PYTHONPATH": path})


def test_with_the_other_provider_airflow_and_both_groups_work(beside: AirflowUnderTest) -> None:
    listed = beside.cli("providers", "list", "--output", "plain").stdout
    assert {"airflow-webhook-notify", "airflow-provider-inbound-webhooks"} <= set(listed.split())
    assert beside.cli("version").stdout.strip()
    theirs = beside.cli("webhooks", "--help").stdout
    assert "deliveries" in theirs
    assert "rotate-secret" not in theirs


def test_ours_answer_under_the_fall_back_name_and_call_themselves_so(beside: AirflowUnderTest) -> None:
    added = beside.cli("webhook-notify", "add", "beside", "--endpoint", "https://example.org/")
    assert "airflow webhook-notify ping beside" in added.stdout
    unknown = beside.cli("webhook-notify", "show", "nobody", check=False)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "`airflow webhook-notify add`" in unknown.stderr
    examined = {row["check"]: row for row in rows(beside.cli("webhook-notify", "doctor", "-o", "json"))}
    assert examined["commands"]["detail"] == ("airflow webhook-notify, since another provider has the name webhooks")
    assert "airflow webhook-notify add" in beside.cli("webhook-notify", "--help").stdout.replace("\n", " ")


def test_usage_errors_are_status_2(home: AirflowUnderTest) -> None:
    ended = home.cli("webhooks", "rotate-secret", "local", "--overlap", "tomorrow", check=False)
    assert ended.returncode == 2
    assert "write a whole number and its unit, such as 90s, 15m, 24h or 7d" in ended.stderr
