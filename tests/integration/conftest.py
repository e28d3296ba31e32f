"""What the tests that send share.

Invariant: no proxy and no certificate bundle of the machine's reaches a test.
"""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from airflow_webhook_notify.client import Client
from airflow_webhook_notify.outbox.store import Outbox
from airflow_webhook_notify.outbox.tables import metadata
from tests.integration.deliveries import clear_outbox
from tests.integration.outboxes import DATABASES, OutboxUnderTest, make_engine, make_url
from tests.integration.rest import Api, api_server, metadata_database
from tests.sending import LOOPBACK

_ENVIRONMENT = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in _ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def client() -> Iterator[Client]:
    """A client that may reach the loopback, as a user allows it."""
    with Client(allowed_networks=LOOPBACK) as client:
        yield client


@dataclass(frozen=True)
class Certificates:
    """Server contexts for TLS, good and bad.

    :param bundle: path of the PEM file of the authority that signed the good one and the expired one
    """

    bundle: str
    good: ssl.SSLContext
    expired: ssl.SSLContext
    other_host: ssl.SSLContext
    self_signed: ssl.SSLContext


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates for 127.0.0.1 and localhost by an authority of the tests' own."""
    folder = tmp_path_factory.mktemp("certificates")
    authority, bundle = trustme.CA(), folder / "authority.pem"
    authority.cert_pem.write_to_path(str(bundle))
    names = ("127.0.0.1", "localhost", "hooks.example.com")
    past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=2)
    return Certificates(
        bundle=str(bundle),
        good=_server_context(authority.issue_cert(*names)),
        expired=_server_context(authority.issue_cert(*names, not_before=past, not_after=past + _DAY)),
        other_host=_server_context(authority.issue_cert("other.example.com")),
        self_signed=_self_signed_context(folder),
    )


_DAY = datetime.timedelta(days=1)


def _server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def _self_signed_context(folder: Path) -> ssl.SSLContext:
    # An authority's own certificate is self-signed, which is found out before whose it is.
    authority, path = trustme.CA(), folder / "self-signed.pem"
    authority.cert_pem.write_to_path(str(path))
    authority.private_key_pem.write_to_path(str(path), append=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.fixture(params=DATABASES)
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OutboxUnderTest]:
    """An empty outbox, on each database in turn."""
    engine = make_engine(make_url(request.param, request, tmp_path))
    metadata.create_all(engine)
    yield OutboxUnderTest(Outbox(engine))
    engine.dispose()


@pytest.fixture(scope="module", params=DATABASES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Airflow's API server, on each database in turn."""
    folder = tmp_path_factory.mktemp("metadata")
    with metadata_database(make_url(request.param, request, folder)), api_server() as api:
        yield api


@pytest.fixture
def api(served: Api, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    """Airflow's API server, with no webhook, no delivery and an empty audit log."""
    _clear()
    served.answers.clear()
    yield served
    monkeypatch.undo()
    _clear()


def _clear() -> None:
    from airflow.models.connection import Connection
    from airflow.models.log import Log
    from airflow.utils.session import create_session
    from sqlalchemy import delete

    clear_outbox()
    with create_session(scoped=False) as session:
        session.execute(delete(Connection))
        session.execute(delete(Log))
