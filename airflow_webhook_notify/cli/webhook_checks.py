"""What `doctor` checks of one webhook, in the order in which an attempt meets it.

Invariant: the first step that fails ends the checks of the way to the endpoint, since those behind it could only
repeat its failure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from airflow_webhook_notify import config
from airflow_webhook_notify.cli import probe
from airflow_webhook_notify.cli.checks import Check, State
from airflow_webhook_notify.connection import ListedWebhook
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.failures import AttemptError
from airflow_webhook_notify.models import Webhook, origin_of
from airflow_webhook_notify.moments import show_moment
from airflow_webhook_notify.signing import SECRET_PREFIX
from airflow_webhook_notify.sockets import Candidate

#: Seconds that receivers let the signed timestamp be off (Standard Webhooks libraries).
CLOCK_TOLERANCE = 300
#: Days before a certificate's end from which on it is worth a warning.
CERTIFICATE_DAYS = 14
_CLOCK_RESOLUTION = 2
# A random text of this length holds as much as a generated secret.
_STRONG_TEXT = 32


def check_webhook(listed: ListedWebhook, *, now: int) -> Iterator[Check]:
    """Check the Connection and the way to its endpoint.

    :param now: milliseconds since the epoch
    """
    webhook = listed.webhook
    if webhook is None:
        yield Check("connection", State.MEND, listed.problem or "can't be used")
        return
    yield Check("connection", State.OK, f"{webhook.id}, from the {listed.source}")
    yield from _check_secrets(webhook, now=now)
    yield _check_encryption(listed)
    yield _check_endpoint(webhook)
    try:
        yield from _check_way(webhook, now=now)
    except ConfigurationError as error:
        yield Check(error.field, State.MEND, error.problem)


def _check_secrets(webhook: Webhook, *, now: int) -> Iterator[Check]:
    newest = webhook.secrets[0].value
    if not newest.startswith(SECRET_PREFIX) and len(newest) < _STRONG_TEXT:
        detail = f"a text of {len(newest)} characters; rotate-secret makes a stronger one"
        yield Check("signing secret", State.WARNING, detail)
    else:
        yield Check("signing secret", State.OK, "long enough")
    for old in webhook.secrets[1:]:
        if old.expires_at is not None and old.expires_at > now:
            yield Check("old signing secret", State.OK, f"signs too until {show_moment(old.expires_at)}")


def _check_encryption(listed: ListedWebhook) -> Check:
    if listed.encrypted or listed.source != "database":
        where = "encrypted" if listed.encrypted and listed.source == "database" else f"kept in the {listed.source}"
        return Check("at rest", State.OK, where)
    return Check("at rest", State.WARNING, "stored in clear; set [core] fernet_key and rotate the signing secret")


def _check_endpoint(webhook: Webhook) -> Check:
    if urlsplit(webhook.endpoint).scheme == "http":
        return Check(
            "endpoint", State.WARNING, f"{webhook.origin}: without TLS, whoever is on the way can read every event"
        )
    if not webhook.verify:
        detail = f"{webhook.origin}: its certificate is not verified; set Verify TLS, with a CA bundle if need be"
        return Check("endpoint", State.WARNING, detail)
    return Check("endpoint", State.OK, webhook.origin)


def _check_way(webhook: Webhook, *, now: int) -> Iterator[Check]:
    proxy = probe.proxy_of(webhook)
    if proxy:
        yield Check("proxy", State.OK, f"{origin_of(proxy)}: what lies behind it, only a ping can check")
        return
    name = "DNS"
    try:
        candidates = probe.resolve_endpoint(webhook)
        yield Check(name, State.OK, ", ".join(dict.fromkeys(found.address for found in candidates)))
        name = "address rule"
        permitted = probe.permit_addresses(webhook, candidates, config.ALLOWED_NETWORKS.read())
        yield Check(name, State.OK, f"{len(permitted)} of {len(candidates)} addresses may be reached")
        name = "connection to the endpoint"
        yield from _check_seen(webhook, permitted, now=now)
    except AttemptError as failure:
        yield Check(name, State.MEND, failure.text)


def _check_seen(webhook: Webhook, permitted: Sequence[Candidate], *, now: int) -> Iterator[Check]:
    seen = probe.look_at(webhook, permitted)
    if seen.certificate_end is not None:
        yield _check_certificate(int((seen.certificate_end - now / 1000) // 86400))
    yield _check_clock(seen.clock_offset)


def _check_certificate(days: int) -> Check:
    if days < CERTIFICATE_DAYS:
        return Check("TLS", State.WARNING, f"the certificate ends in {days} days; its owner has to renew it")
    return Check("TLS", State.OK, f"the certificate is valid for {days} more days")


def _check_clock(offset: float | None) -> Check:
    if offset is None:
        return Check("clock", State.OK, "not compared: the endpoint gives no date")
    # A date on the wire has whole seconds.
    if abs(offset) < _CLOCK_RESOLUTION:
        return Check("clock", State.OK, "the endpoint's is the same as ours")
    detail = f"the endpoint's is {abs(offset):.0f} s {'ahead of' if offset > 0 else 'behind'} ours"
    if abs(offset) > CLOCK_TOLERANCE:
        return Check(
            "clock", State.MEND, f"{detail}, so it takes our signatures for replayed; set the clock that is wrong"
        )
    return Check("clock", State.OK, detail)
