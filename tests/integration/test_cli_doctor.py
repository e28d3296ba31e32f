"""What the doctor finds, at real servers."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import trustme
from airflow.models.connection import Connection
from airflow.models.errors import ParseImportError
from airflow.utils.session import create_session
from sqlalchemy import delete
from sqlalchemy.exc import OperationalError

from airflow_webhook_notify import connection
from airflow_webhook_notify.cli import outbox_checks, webhook_checks
from airflow_webhook_notify.outbox.store import Outbox
from tests.integration.cli import Result, Run, make_run
from tests.integration.deliveries import (
    attempt_all,
    claim,
    clear_outbox,
    enqueue,
    hide_outbox,
    make_event,
)
from tests.servers import PATIENCE, ProxyServer, RawServer, RecordingServer, read_request

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PATH = "/services/the-path-of-the-endpoint"


@pytest.fixture(autouse=True)
def _database(airflow_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__ALLOWED_NETWORKS", "127.0.0.0/8")
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    clear_outbox()
    yield
    monkeypatch.undo()
    clear_outbox()
    with create_session(scoped=False) as session:
        session.execute(delete(Connection).where(Connection.conn_type == "webhook"))


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return make_run(capsys, monkeypatch)


def add(run: Run, endpoint: str, *options: str) -> None:
    assert run("add", "ops", "--endpoint", endpoint, *options).code == 0


def examine(run: Run, *arguments: str) -> tuple[Result, dict[str, tuple[str, str]]]:
    """Return how the doctor ended, and the state and detail of each check."""
    ended = run("doctor", *arguments, "--output", "json")
    return ended, {row["check"]: (row["state"], row["detail"]) for row in ended.rows}


# --- the installation -----------------------------------------------------------------------------------------


def test_a_sound_installation_is_all_ok(run: Run) -> None:
    ended, checks = examine(run)
    assert (ended.code, ended.err) == (0, "")
    assert {state for state, _ in checks.values()} == {"ok"}
    assert checks["commands"] == ("ok", "airflow webhooks")
    assert checks["webhooks"] == ("ok", "0 in the metadata database and the environment")
    assert checks["[webhook_notify]"] == ("ok", "all options can be used")


def test_an_option_that_cannot_be_read_is_to_be_mended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__ALLOWED_NETWORKS", "the office")
    ended, checks = examine(run)
    assert ended.code == 1
    assert ended.err == "Error: To mend: [webhook_notify] allowed_networks\n"
    state, detail = checks["[webhook_notify] allowed_networks"]
    assert state == "mend"
    assert "give networks separated by commas" in detail


def test_a_dag_that_airflow_refuses_for_our_listener_is_a_warning(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    _, checks = examine(run)
    assert checks["failure reports"] == ("ok", "on: a failed task leaves its message in an XCom")
    text = "AirflowException: Listeners are not supported with end_from_trigger=True for deferrable operators."
    with create_session(scoped=False) as session:
        session.add(ParseImportError(filename="waits.py", stacktrace=text))
    try:
        _, checks = examine(run)
        assert checks["failure reports"][0] == "warning"
        assert "waits.py; set [webhook_notify] failure_reports to False" in checks["failure reports"][1]
        monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__FAILURE_REPORTS", "False")
        _, checks = examine(run)
        assert checks["failure reports"][0] == "ok"
    finally:
        with create_session(scoped=False) as session:
            session.execute(delete(ParseImportError))


def test_a_missing_fernet_key_is_a_warning(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "")
    ended, checks = examine(run)
    assert ended.code == 0
    assert checks["[core] fernet_key"][0] == "warning"


def test_a_webhook_that_cannot_be_used_is_to_be_mended(run: Run) -> None:
    with create_session(scoped=False) as session:
        session.add(Connection(conn_id="broken", conn_type="webhook", host=f"example.org{PATH}", password=SECRET))
    ended, checks = examine(run)
    assert ended.err == "Error: To mend: webhook broken\n"
    assert checks["webhook broken"][1].startswith("Endpoint URL: ")
    ended, checks = examine(run, "broken")
    assert checks["connection"][1].startswith("Endpoint URL: ")
    assert PATH not in ended.out + ended.err


def test_a_database_that_fails_is_to_be_mended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OperationalError(f"SELECT '{SECRET}'", {}, Exception("no such table"))

    monkeypatch.setattr(connection, "list_webhooks", fail)
    ended, checks = examine(run)
    assert ended.code == 1
    assert checks["metadata database"][0] == "mend"
    assert SECRET not in ended.out


def test_an_unknown_webhook_is_to_be_mended(run: Run) -> None:
    ended, checks = examine(run, "nobody")
    assert ended.code == 1
    assert checks["connection"][0] == "mend"
    assert "'nobody'" in checks["connection"][1]


# --- the outbox -----------------------------------------------------------------------------------------------


def ago(seconds: float) -> int:
    return int((time.time() - seconds) * 1000)


def test_an_outbox_that_was_never_migrated_is_to_be_mended(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_outbox(monkeypatch, tmp_path)
    ended, checks = examine(run)
    assert ended.err == "Error: To mend: outbox\n"
    assert checks["outbox"] == (
        "mend",
        "the outbox's tables are missing or too old; run `airflow db migrate`; callbacks deliver directly meanwhile",
    )
    assert "relay" not in checks


def test_an_idle_outbox_is_sound(run: Run) -> None:
    _, checks = examine(run)
    assert checks["outbox"] == ("ok", "its tables are there")
    assert checks["relay"] == ("ok", "nothing has waited for it for more than a minute")
    assert checks["clock of the database"] == ("ok", "the same as ours")


def test_what_has_been_due_for_more_than_a_minute_means_that_no_relay_is_at_work(run: Run) -> None:
    enqueue(make_event(), now=ago(50))
    assert examine(run)[1]["relay"][0] == "ok"
    enqueue(make_event(1), now=ago(70))
    ended, checks = examine(run)
    assert ended.err == "Error: To mend: relay\n"
    state, detail = checks["relay"]
    assert state == "mend"
    assert detail.startswith("none seems to be at work: a delivery has been due since 20")
    assert "start `airflow webhooks relay`" in detail


def test_a_relay_that_holds_deliveries_is_at_work_whatever_waits(run: Run) -> None:
    enqueue(make_event(), now=ago(3600))
    claim(ago(1))
    enqueue(make_event(1), now=ago(3600))
    assert examine(run)[1]["relay"] == ("ok", "at work on 1 deliveries")


def test_a_delivery_that_succeeded_lately_is_proof_of_a_relay(run: Run) -> None:
    enqueue(make_event(), now=ago(3600))
    attempt_all(ago(30), 200)
    enqueue(make_event(1), now=ago(3600))
    state, detail = examine(run)[1]["relay"]
    assert (state, detail[:29]) == ("ok", "the last delivery succeeded a")


def test_a_relay_that_was_killed_is_not_at_work(run: Run) -> None:
    enqueue(make_event(), now=ago(3600))
    claim(ago(120))
    assert examine(run)[1]["relay"][0] == "mend"


def test_a_paused_webhook_is_a_warning_and_what_it_keeps_is_no_relays_fault(run: Run) -> None:
    enqueue(make_event(), now=ago(3600))
    Outbox().pause("ops", "the endpoint answered 410 Gone", now=ago(60))
    ended, checks = examine(run)
    assert ended.code == 0
    assert checks["relay"][0] == "ok"
    state, detail = checks["webhook ops"]
    assert state == "warning"
    assert detail.startswith("paused: the endpoint answered 410 Gone; its deliveries wait since 20")
    assert detail.endswith("once that is mended, `airflow webhooks resume ops`")


def test_a_redelivery_of_a_paused_webhook_has_to_be_sent(run: Run) -> None:
    delivery_id = enqueue(make_event(), now=ago(3600))
    Outbox().pause("ops", "410", now=ago(3600))
    Outbox().redeliver([delivery_id], now=ago(120))
    assert examine(run)[1]["relay"][0] == "mend"


def test_a_failing_webhook_is_a_warning(run: Run) -> None:
    enqueue(make_event(), now=ago(30))
    attempt_all(ago(20), 500, error="answered 500")
    ended, checks = examine(run)
    assert ended.code == 0
    state, detail = checks["webhook ops"]
    assert (state, detail[:16]) == ("warning", "failing since 20")
    assert "`airflow webhooks deliveries --webhook ops` shows the errors" in detail


def test_the_doctors_ping_is_in_the_delivery_log(run: Run) -> None:
    with RecordingServer() as receiver:
        add(run, receiver.url(PATH), "--allow-http")
        examine(run, "ops")
    (row,) = run("deliveries", "-o", "json").rows
    assert (row["topic"], row["state"]) == ("webhook.ping", "delivered")


@pytest.mark.parametrize(
    ("offset", "state"), [(0.0, "ok"), (4.9, "ok"), (-4.9, "ok"), (5.1, "warning"), (-5.1, "warning")]
)
def test_the_databases_clock_may_be_a_little_off(offset: float, state: str) -> None:
    assert outbox_checks._check_clock(offset).state.value == state


# --- a webhook ------------------------------------------------------------------------------------------------


def test_a_webhook_is_followed_up_to_a_ping(run: Run) -> None:
    with RecordingServer() as receiver:
        add(run, receiver.url(PATH), "--allow-http")
        ended, checks = examine(run, "ops")
        assert [(request.method, request.path) for request in receiver.requests] == [("HEAD", "/"), ("POST", PATH)]
        assert {name.lower() for name, _ in receiver.requests[0].headers} == {"host", "user-agent", "connection"}
    assert ended.code == 0
    assert checks["connection"] == ("ok", "ops, from the database")
    assert checks["signing secret"] == ("ok", "long enough")
    assert checks["at rest"] == ("ok", "encrypted")
    assert checks["endpoint"][0] == "warning"
    assert checks["DNS"] == ("ok", "127.0.0.1")
    assert checks["address rule"] == ("ok", "1 of 1 addresses may be reached")
    assert checks["clock"] == ("ok", "the endpoint's is the same as ours")
    assert checks["ping"][1].startswith("answered 200 in ")


def test_the_ping_can_be_left_out(run: Run) -> None:
    with RecordingServer() as receiver:
        add(run, receiver.url(PATH), "--allow-http")
        ended, checks = examine(run, "ops", "--no-ping")
        assert [request.method for request in receiver.requests] == ["HEAD"]
    assert (ended.code, "ping" in checks) == (0, False)


def test_a_ping_that_fails_is_to_be_mended(run: Run) -> None:
    with RecordingServer(401) as receiver:
        add(run, receiver.url(PATH), "--allow-http")
        ended, checks = examine(run, "ops")
    assert ended.err == "Error: To mend: ping\n"
    assert "check the webhook's Authorization header" in checks["ping"][1]


def test_a_refused_address_ends_the_way_and_names_the_option(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__WEBHOOK_NOTIFY__ALLOWED_NETWORKS", "10.0.0.0/8")
    with RecordingServer() as receiver:
        add(run, receiver.url(PATH), "--allow-http")
        ended, checks = examine(run, "ops")
        assert receiver.connections == 0
    assert ended.err == "Error: To mend: address rule\n"
    assert "add 127.0.0.1/32 to [webhook_notify] allowed_networks" in checks["address rule"][1]
    assert not {"clock", "ping"} & set(checks)


def test_a_name_that_does_not_resolve_is_to_be_mended(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    add(run, f"https://hooks.example.org{PATH}")
    # The real resolver would ask a name server.
    monkeypatch.setattr(socket, "getaddrinfo", fail)
    ended, checks = examine(run, "ops")
    assert ended.err == "Error: To mend: DNS\n"
    assert checks["DNS"][1].endswith("hooks.example.org does not resolve: Name or service not known")


def test_an_endpoint_that_is_not_there_is_to_be_mended(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    add(run, f"http://127.0.0.1:{port}{PATH}", "--allow-http")
    ended, checks = examine(run, "ops")
    assert ended.code == 1
    assert checks["connection to the endpoint"] == ("mend", "127.0.0.1 refused the connection")


def test_a_clock_that_is_off_is_to_be_mended(run: Run) -> None:
    date = format_datetime(datetime.now(tz=timezone.utc) - timedelta(minutes=10), usegmt=True)

    def answer(client: socket.socket, stopping: threading.Event) -> None:
        read_request(client)
        client.sendall(f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: 0\r\n\r\n".encode())

    with RawServer(answer) as server:
        add(run, server.url(PATH), "--allow-http")
        ended, checks = examine(run, "ops")
    assert ended.err == "Error: To mend: clock\n"
    assert "behind ours, so it takes our signatures for replayed" in checks["clock"][1]


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nDate: yesterday\r\n\r\n"])
def test_an_endpoint_without_a_date_is_left_at_that(run: Run, answer: bytes) -> None:
    def serve(client: socket.socket, stopping: threading.Event) -> None:
        read_request(client)
        client.sendall(answer)

    with RawServer(serve) as server:
        add(run, server.url(PATH), "--allow-http")
        _, checks = examine(run, "ops", "--no-ping")
    assert checks["clock"] == ("ok", "not compared: the endpoint gives no date")


def test_a_short_secret_is_a_warning_and_an_old_one_is_told_of(run: Run) -> None:
    with RecordingServer() as receiver:
        add(run, receiver.url(PATH), "--allow-http", "--secret", SECRET)
        run("rotate-secret", "ops", "--secret", "correct horse")
        _, checks = examine(run, "ops", "--no-ping")
    state, detail = checks["signing secret"]
    assert (state, detail) == ("warning", "a text of 13 characters; rotate-secret makes a stronger one")
    assert checks["old signing secret"][1].startswith("signs too until 20")


def test_a_secret_in_clear_is_a_warning(run: Run) -> None:
    with RecordingServer() as receiver:
        add(run, receiver.url(PATH), "--allow-http")
        with create_session(scoped=False) as session:
            conn = session.query(Connection).filter_by(conn_id="ops").one()
            # As it is where Airflow had no Fernet key when it was stored.
            conn._password, conn.is_encrypted = SECRET, False
        ended, checks = examine(run, "ops", "--no-ping")
    assert ended.code == 0
    assert checks["at rest"][0] == "warning"
    assert SECRET not in ended.out


def test_behind_a_proxy_only_the_ping_checks_the_way(run: Run) -> None:
    with RecordingServer() as receiver, ProxyServer(credentials="user:the-password") as proxy:
        url = proxy.url("").replace("http://", "http://user:the-password@")
        add(run, receiver.url(PATH), "--allow-http", "--proxy", url)
        ended, checks = examine(run, "ops")
        assert len(proxy.asked) == 1
    assert ended.code == 0
    assert checks["proxy"][0] == "ok"
    assert "the-password" not in ended.out
    assert "DNS" not in checks
    assert checks["ping"][0] == "ok"


# --- TLS ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return str(tmp_path / "ca.pem")


def served_with(certificate: trustme.LeafCert) -> RecordingServer:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return RecordingServer(tls=context)


@pytest.mark.parametrize(
    ("days", "state", "detail"),
    [(90, "ok", "the certificate is valid for 89 more days"), (3, "warning", "the certificate ends in 2 days")],
)
def test_the_certificates_days_are_counted(
    run: Run, authority: trustme.CA, bundle: str, days: int, state: str, detail: str
) -> None:
    # An hour less, so that the count does not hang on the second.
    end = datetime.now(tz=timezone.utc) + timedelta(days=days, hours=-1)
    with served_with(authority.issue_cert("127.0.0.1", not_after=end)) as receiver:
        add(run, receiver.url(PATH), "--ca-bundle", bundle)
        ended, checks = examine(run, "ops")
    assert ended.code == 0
    assert checks["endpoint"] == ("ok", f"https://127.0.0.1:{receiver.port}")
    assert checks["TLS"][0] == state
    assert checks["TLS"][1].startswith(detail)
    assert checks["ping"][0] == "ok"


def test_a_certificate_that_is_not_trusted_is_to_be_mended(run: Run, authority: trustme.CA) -> None:
    with served_with(authority.issue_cert("127.0.0.1")) as receiver:
        add(run, receiver.url(PATH))
        ended, checks = examine(run, "ops")
        assert receiver.requests == []
    assert ended.code == 1
    assert "set CA bundle" in checks["connection to the endpoint"][1]


def test_a_certificate_for_another_host_is_to_be_mended(run: Run, authority: trustme.CA, bundle: str) -> None:
    with served_with(authority.issue_cert("example.org")) as receiver:
        add(run, receiver.url(PATH), "--ca-bundle", bundle)
        _, checks = examine(run, "ops")
    assert "mismatch" in checks["connection to the endpoint"][1]


def test_a_bundle_that_is_not_there_is_to_be_mended(run: Run, authority: trustme.CA, tmp_path: Path) -> None:
    with served_with(authority.issue_cert("127.0.0.1")) as receiver:
        add(run, receiver.url(PATH), "--ca-bundle", str(tmp_path / "none.pem"))
        _, checks = examine(run, "ops")
    assert "none.pem can't be read as PEM" in checks["connection to the endpoint"][1]


def test_no_verification_is_a_warning(run: Run, authority: trustme.CA) -> None:
    with served_with(authority.issue_cert("127.0.0.1")) as receiver:
        with create_session(scoped=False) as session:
            session.add(
                Connection(
                    conn_id="ops",
                    conn_type="webhook",
                    host=receiver.url(PATH),
                    password=SECRET,
                    extra='{"verify": false}',
                )
            )
        ended, checks = examine(run, "ops")
    assert ended.code == 0
    assert checks["endpoint"][0] == "warning"
    assert "TLS" not in checks


def test_a_server_that_stalls_in_the_handshake_is_to_be_mended(run: Run) -> None:
    def stall(client: socket.socket, stopping: threading.Event) -> None:
        stopping.wait(PATIENCE)

    with RawServer(stall) as server:
        with create_session(scoped=False) as session:
            extra = '{"connect_timeout": 0.2}'
            host = server.url(PATH, scheme="https")
            session.add(Connection(conn_id="ops", conn_type="webhook", host=host, password=SECRET, extra=extra))
        _, checks = examine(run, "ops")
    assert checks["connection to the endpoint"] == ("mend", "no TLS connection to 127.0.0.1 within 0.2 s")


@pytest.mark.parametrize(
    ("offset", "state"), [(0.0, "ok"), (-299.0, "ok"), (299.0, "ok"), (301.0, "mend"), (-301.0, "mend")]
)
def test_clocks_may_differ_by_what_receivers_tolerate(offset: float, state: str) -> None:
    assert webhook_checks._check_clock(offset).state.value == state
