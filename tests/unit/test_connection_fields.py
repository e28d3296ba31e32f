"""What bad input in a Connection gets: docs/bad-input.md, row by row.

Invariant: each refusal names the field and shows nothing of a value that may be a credential.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_webhook_notify import connection_fields as fields
from airflow_webhook_notify.connection import parse_webhook
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.models import Level, SigningSecret, Webhook
from airflow_webhook_notify.topics import FAILED, JOB_TOPICS, check_topics

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENDPOINT = "https://hooks.example.com/T0PSECRETPATH?key=T0PSECRETKEY"


@dataclass
class Conn:
    """A Connection as Airflow hands it over."""

    conn_id: str = "ops"
    conn_type: str | None = "webhook"
    description: str | None = None
    host: str | None = ENDPOINT
    password: str | None = SECRET
    extra: str | None = None


def parse(**values: Any) -> Webhook:
    extra = values.pop("extra", None)
    return parse_webhook(Conn(extra=json.dumps(extra) if isinstance(extra, dict) else extra, **values))


def refusal(**values: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse(**values)
    return str(caught.value)


def test_a_connection_with_only_an_endpoint_and_a_secret_hears_of_all_three_topics() -> None:
    assert parse() == Webhook(
        id="ops",
        endpoint=ENDPOINT,
        secrets=(SigningSecret(SECRET),),
        topics=JOB_TOPICS,
        level=Level.DAG,
        connect_timeout=5.0,
        timeout=15.0,
        verify=True,
        nickname="ops",
    )


def test_every_field_is_read() -> None:
    webhook = parse(
        description="On call",
        extra={
            "authorization": "Bearer abc",
            "topics": [FAILED],
            "dags": ["etl_*", "!etl_dev"],
            "tags": ["prod"],
            "level": "both",
            "retries": True,
            "roll_up": 60,
            "rate": 0.5,
            "heartbeat": 5,
            "headers": {"X-Team": "data"},
            "timeout": 3,
            "connect_timeout": 1.5,
            "verify": False,
            "ca_bundle": "/etc/ssl/ours.pem",
            "proxy": "http://proxy.example.com:3128",
            "previous_secrets": [{"secret": "an older secret", "expires_at": 1700000000000}],
        },
    )
    assert webhook == Webhook(
        id="ops",
        endpoint=ENDPOINT,
        secrets=(SigningSecret(SECRET), SigningSecret("an older secret", 1700000000000)),
        authorization="Bearer abc",
        topics=(FAILED,),
        dags=("etl_*", "!etl_dev"),
        tags=("prod",),
        level=Level.BOTH,
        retries=True,
        roll_up=60.0,
        rate=0.5,
        heartbeat=5.0,
        headers=(("X-Team", "data"),),
        connect_timeout=1.5,
        timeout=3.0,
        verify=False,
        ca_bundle="/etc/ssl/ours.pem",
        proxy="http://proxy.example.com:3128",
        nickname="On call",
    )


def test_a_connection_written_as_a_uri_has_texts_for_everything() -> None:
    webhook = parse(
        host="http://hooks.example.com/x",
        extra={
            "allow_http": "true",
            "topics": "job.execution.failed, job.execution.started",
            "timeout": "2.5",
            "headers": '{"X-Team": "data"}',
            "dags": '["a", "b"]',
            "verify": "false",
        },
    )
    assert (webhook.allow_http, webhook.timeout, webhook.verify) == (True, 2.5, False)
    assert webhook.topics == ("job.execution.failed", "job.execution.started")
    assert (webhook.headers, webhook.dags) == ((("X-Team", "data"),), ("a", "b"))


@pytest.mark.parametrize(
    ("host", "says"),
    [
        (None, "Endpoint URL: is empty"),
        ("", "Endpoint URL: is empty"),
        ("hooks.example.com/x", "Endpoint URL: is not a URL that begins with https://"),
        ("ftp://hooks.example.com/x", "Endpoint URL: is not a URL that begins with https://"),
        ("https:///x", "Endpoint URL: is not a URL that begins with https:// and names a host"),
        ("https://hooks.example.com:port/x", "Endpoint URL: is not a URL"),
        ("https://[::1/x", "Endpoint URL: is not a URL"),
        ("https://hooks.example.com/a b", "Endpoint URL: is not a URL (it is too long, or has spaces"),
        ("https://hooks.example.com/a\r\nX: y", "Endpoint URL: is not a URL (it is too long, or has spaces"),
        ("https://hooks.example.com\\@evil.example", "Endpoint URL: is not a URL (it is too long, or has spaces"),
        ("https://hooks.example.com/" + "a" * 9000, "Endpoint URL: is not a URL (it is too long"),
        ("http://hooks.example.com/x", "Endpoint URL: is plain http"),
        ("https://user:pass@hooks.example.com/x", "Endpoint URL: has a user name or password in it"),
        ("https://hooks.example.com/x#part", "Endpoint URL: has a fragment (#…)"),
    ],
)
def test_an_unusable_endpoint_is_refused_by_name(host: str | None, says: str) -> None:
    text = refusal(host=host)
    assert text.startswith(says)
    assert "pass@" not in text
    assert "/x" not in text


@pytest.mark.parametrize(
    ("password", "says"),
    [
        (None, "Signing secret: is empty; `airflow webhooks add` makes one"),
        ("", "Signing secret: is empty; `airflow webhooks add` makes one"),
        ("whsec_not base64!", "Signing secret: "),
        ("whsec_", "Signing secret: "),
        (" padded with white space", "Signing secret: "),
        ("short", "Signing secret: "),
    ],
)
def test_an_unusable_secret_is_refused_without_showing_it(password: str | None, says: str) -> None:
    text = refusal(password=password)
    assert text.startswith(says)
    assert not password or len(password) < 7 or password not in text


def test_a_secret_without_whsec_is_taken_as_text() -> None:
    assert parse(password="It's a Secret to Everybody").secrets_at(0) == ("It's a Secret to Everybody",)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ("{", "Extra: is not JSON"),
        ("[1]", "Extra: is not a JSON object"),
        ({"topic": [FAILED]}, "Extra: has the unknown field 'topic'; did you mean 'topics'?"),
        (
            {"topics": ["job.failed"]},
            "Topics: there is no topic 'job.failed'; the topics are "  # noqa: ISC004
            "job.execution.started, job.execution.succeeded, job.execution.failed",
        ),
        ({"topics": 3}, "Topics: must be a list of texts"),
        ({"topics": "[3"}, "Topics: is neither a JSON list nor texts separated by commas"),
        ({"dags": [1]}, "DAGs: must be a list of texts"),
        ({"level": "run"}, "Level: must be one of dag, task, both"),
        ({"retries": "often"}, "Retries: must be true or false"),
        ({"roll_up": 0}, "Roll up failures: must be a number of seconds from 1 to 3600, or empty"),
        ({"rate": "slow"}, "Rate limit: must be a number of events a minute from 0.1 to 60000, or empty"),
        ({"rate": "nan"}, "Rate limit: must be a number of events a minute from 0.1 to 60000, or empty"),
        ({"heartbeat": True}, "Heartbeat: must be a number of minutes from 1 to 1440, or empty"),
        ({"timeout": 0}, "Timeout: must be a number of seconds from 0.1 to 60"),
        ({"timeout": "soon"}, "Timeout: must be a number of seconds from 0.1 to 60"),
        ({"timeout": True}, "Timeout: must be a number of seconds from 0.1 to 60"),
        ({"timeout": "nan"}, "Timeout: must be a number of seconds from 0.1 to 60"),
        ({"connect_timeout": 61}, "Connect timeout: must be a number of seconds from 0.1 to 60"),
        ({"verify": "maybe"}, "Verify TLS: must be true or false"),
        ({"allow_http": 2}, "Allow http: must be true or false"),
        ({"ca_bundle": 7}, "CA bundle: must be the path of a PEM file"),
        ({"proxy": "proxy.example.com"}, "Proxy: must be a URL"),
        ({"headers": ["X-A"]}, "Extra headers: must be an object of texts"),
        ({"headers": "{"}, "Extra headers: is not JSON"),
        ({"headers": {"X A": "b"}}, "Extra headers: a header name may have only"),
        ({"headers": {"X-A\r\nX-B": "b"}}, "Extra headers: a header name may have only"),
        ({"headers": {"X-A": "b\r\nX-B: c"}}, "Extra headers, X-A: has a line break"),
        ({"headers": {"X-A": "☃"}}, "Extra headers, X-A: has characters that no HTTP header can carry"),
        ({"headers": {"X-A": 1}}, "Extra headers: the value of X-A must be a text"),
        ({"headers": {"Host": "evil.example"}}, "Extra headers: Host is set by this package itself"),
        ({"headers": {"content-length": "0"}}, "Extra headers: content-length is set by this package itself"),
        ({"headers": {"Webhook-Id": "x"}}, "Extra headers: Webhook-Id is set by this package itself"),
        ({"headers": {"authorization": "x"}}, "Extra headers: authorization is set by this package itself"),
        ({"authorization": "Bearer a\nX: b"}, "Authorization header: has a line break"),
        ({"authorization": 5}, "Authorization header: must be a text"),
        ({"previous_secrets": [{"secret": "x"}]}, "Previous secrets: must be a list of"),
    ],
)
def test_an_unusable_field_of_extra_is_refused_by_name(extra: Any, says: str) -> None:
    assert refusal(extra=extra).startswith(says)


def test_a_field_of_another_tool_is_left_alone() -> None:
    assert parse(extra={"owner_team": "data"}) == parse()


def test_a_connection_of_another_type_is_refused() -> None:
    assert refusal(conn_type="http") == "Connection 'ops': has the type 'http'; make it one of type 'webhook'"


def test_the_connect_timeout_never_exceeds_the_whole() -> None:
    assert parse(extra={"timeout": 2}).connect_timeout == 2.0


def test_a_previous_secret_signs_until_it_expires() -> None:
    webhook = parse(extra={"previous_secrets": [{"secret": "an older secret", "expires_at": 1000}]})
    assert webhook.secrets_at(999) == (SECRET, "an older secret")
    assert webhook.secrets_at(1000) == (SECRET,)


def test_what_is_shown_of_a_webhook_has_no_credential() -> None:
    webhook = parse(extra={"authorization": "Bearer T0PSECRETTOKEN", "headers": {"X-Key": "T0PSECRETHEADER"}})
    shown = repr(webhook) + str(webhook) + webhook.origin
    assert "T0PSECRET" not in shown
    assert SECRET not in shown
    assert webhook.origin == "https://hooks.example.com"


def test_topics_are_named_once() -> None:
    assert check_topics([FAILED, FAILED]) == (FAILED,)


def test_globs_are_trimmed() -> None:
    assert fields.parse_globs("DAGs", " a ,\n b,,") == ("a", "b")
