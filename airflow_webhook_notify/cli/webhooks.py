"""The commands that make, show, ping and change webhooks.

Invariant: a signing secret is written only where it was generated here, and only by the command that did.
"""

from __future__ import annotations

import time
from argparse import Namespace

from airflow_webhook_notify import connection, signing
from airflow_webhook_notify.cli import inputs, terminal
from airflow_webhook_notify.cli.command import command, recorded
from airflow_webhook_notify.cli.durations import show_moment
from airflow_webhook_notify.cli.states import describe_outbox, describe_status, read_states
from airflow_webhook_notify.connection_form import AUTHORIZATION, SIGNING_SECRET
from airflow_webhook_notify.models import Attempt, Level, SigningSecret, Webhook
from airflow_webhook_notify.outbox.records import WebhookStatus
from airflow_webhook_notify.pings import log_ping
from airflow_webhook_notify.subscriptions import subscribes
from airflow_webhook_notify.topics import JOB_TOPICS

_ADVICE = {
    401: "check the webhook's Authorization header, and that the receiver holds its signing secret",
    403: "check the webhook's Authorization header, and that the receiver holds its signing secret",
    404: "check the path of the Endpoint URL",
    405: "check the path of the Endpoint URL; it has to take POST requests",
    410: "the receiver no longer wants these events; ask its owner, or delete the webhook",
    413: "the receiver refuses bodies of this size; ask its owner",
    429: "the receiver gets more than it wants at the moment; try again later",
}


@recorded
def webhooks_add(args: Namespace) -> None:
    """Make the Connection of a new webhook."""
    webhook = _webhook_from(args)
    connection.create_webhook(webhook)
    generated = webhook.secrets[0].value if args.secret == inputs.GENERATED else None
    if args.output != "table":
        record = {"conn_id": webhook.id, "endpoint": webhook.origin, "topics": list(webhook.topics)}
        terminal.write_rows([{**record, "secret": generated}], args.output)
        return
    terminal.say(f"Made the webhook {webhook.id!r} for {webhook.origin}.")
    if generated:
        _say_secret("Its signing secret, shown this once:", generated)
    terminal.write_lines(_next_steps(webhook, args.group))


def _webhook_from(args: Namespace) -> Webhook:
    # In this order: it is the order of the lines where both come from standard input.
    authorization = args.authorization and inputs.read_hidden(AUTHORIZATION.label, args.authorization)
    return Webhook(
        id=args.conn_id,
        endpoint=args.endpoint,
        secrets=(SigningSecret(_secret_from(args)),),
        authorization=authorization or None,
        topics=tuple(args.topic) or JOB_TOPICS,
        dags=tuple(args.dag),
        tags=tuple(args.tag),
        level=Level(args.level),
        headers=inputs.parse_headers(args.header),
        ca_bundle=args.ca_bundle,
        proxy=args.proxy,
        allow_http=args.allow_http,
        nickname=args.nickname or args.conn_id,
        timeout=args.timeout,
        retries=args.retries,
        roll_up=args.roll_up,
        rate=args.rate,
        heartbeat=args.heartbeat,
    )


def _secret_from(args: Namespace) -> str:
    if args.secret == inputs.GENERATED:
        return signing.generate_secret()
    return inputs.read_hidden(SIGNING_SECRET, args.secret)


def _say_secret(text: str, secret: str) -> None:
    terminal.write_lines([text, "", f"    {secret}", ""])


def _next_steps(webhook: Webhook, group: str) -> list[str]:
    steps = ["The receiver verifies with that secret. Then:", f"    airflow {group} ping {webhook.id}"]
    if subscribes(webhook):
        return [
            *steps,
            "It hears of its DAGs within seconds. Which webhooks hear of a DAG, and why:",
            f"    airflow {group} subscriptions DAG_ID",
        ]
    return [
        *steps,
        "and attach it to a DAG (for its tasks: default_args=task_callbacks(...)):",
        "    from airflow_webhook_notify import dag_callbacks",
        f"    with DAG(..., **dag_callbacks({webhook.id!r})):",
    ]


@command
def webhooks_list(args: Namespace) -> None:
    """List the webhooks of the metadata database and the environment."""
    listed = connection.list_webhooks()
    known = read_states()
    terminal.write_rows([_summary(each, known.of(each.id)) for each in listed], args.output)


def _summary(listed: connection.ListedWebhook, status: WebhookStatus) -> dict[str, object]:
    webhook = listed.webhook
    return {
        "conn_id": listed.id,
        "nickname": webhook and webhook.nickname,
        "endpoint": webhook and webhook.origin,
        "topics": webhook and list(webhook.topics),
        "dags": webhook and list(webhook.dags),
        "tags": webhook and list(webhook.tags),
        "source": listed.source,
        "state": listed.problem or describe_status(status),
    }


@command
def webhooks_show(args: Namespace) -> None:
    """Show one webhook."""
    listed = find_webhook(args.conn_id)
    known = read_states(with_counts=True)
    record = _summary(listed, known.of(listed.id))
    if listed.webhook:
        record = {**record, **_details(listed.webhook, now=int(time.time() * 1000))}
    outbox = describe_outbox(known, listed.id)
    terminal.write_record({**record, "encrypted": listed.encrypted, **outbox}, args.output)


def find_webhook(conn_id: str) -> connection.ListedWebhook:
    """Return the webhook, also one of a secrets backend, which no listing holds.

    :raises ConfigurationError: where there is none, or the one of a secrets backend can't be used
    """
    for listed in connection.list_webhooks():
        if listed.id == conn_id:
            return listed
    webhook = connection.get_webhook(conn_id)
    return connection.ListedWebhook(conn_id, "secrets backend", webhook, None, encrypted=True)


def _details(webhook: Webhook, *, now: int) -> dict[str, object]:
    ends = [s.expires_at for s in webhook.secrets if s.expires_at is not None and s.expires_at > now]
    return {
        "level": webhook.level.value,
        "retries": webhook.retries,
        "roll_up": webhook.roll_up,
        "rate": webhook.rate,
        "heartbeat": webhook.heartbeat,
        "authorization": "set" if webhook.authorization else "not set",
        "secrets": len(webhook.secrets_at(now)),
        "old_secret_until": show_moment(max(ends)) if ends else None,
        # Their values can be credentials.
        "headers": [name for name, _ in webhook.headers],
        "timeout": webhook.timeout,
        "verify": webhook.verify,
        "ca_bundle": webhook.ca_bundle,
        "proxy": "set" if webhook.proxy else "not set",
    }


@recorded
def webhooks_ping(args: Namespace) -> None:
    """Send one ping, and succeed only where the endpoint takes it."""
    # Here, not above: `requests` is only for the commands that send.
    from airflow_webhook_notify.hooks import WebhookHook

    ping = WebhookHook(args.conn_id).ping()
    attempt = ping.attempt
    if problem := log_ping(args.conn_id, ping.event, attempt):
        terminal.hint(f"The ping is not in the delivery log: {problem}")
    record = {
        "topic": ping.event.topic,
        "event_id": ping.event.id,
        "status": attempt.status,
        "duration": round(attempt.duration, 3),
        "error": attempt.error,
    }
    terminal.write_record(record, args.output)
    if not attempt.succeeded:
        terminal.fail(f"The ping failed: {describe_failure(attempt, group=args.group, conn_id=args.conn_id)}")


def describe_failure(attempt: Attempt, *, group: str, conn_id: str) -> str:
    """Return what went wrong and what to do about it."""
    problem = (attempt.error or f"the endpoint answered {attempt.status}").rstrip(".")
    return f"{problem}; {_advice(attempt.status, group=group, conn_id=conn_id)}"


def _advice(status: int | None, *, group: str, conn_id: str) -> str:
    if status is None:
        return f"`airflow {group} doctor {conn_id}` checks each step on the way"
    if 300 <= status < 400:
        return "redirects are not followed: put the final URL into the Endpoint URL"
    if status >= 500:
        return "see the receiver's own log"
    return _ADVICE.get(
        status, "the receiver refuses the request: see its log, and check that it holds the signing secret"
    )


@recorded
def webhooks_rotate_secret(args: Namespace) -> None:
    """Give a webhook a new signing secret, and let the old one sign for a while."""
    now = int(time.time() * 1000)
    secret = _secret_from(args)
    connection.rotate_secret(args.conn_id, secret, now=now, overlap=args.overlap)
    generated = secret if args.secret == inputs.GENERATED else None
    until = show_moment(now + args.overlap) if args.overlap else None
    if args.output != "table":
        terminal.write_rows([{"conn_id": args.conn_id, "secret": generated, "old_secret_until": until}], args.output)
        return
    if generated:
        _say_secret(f"The new signing secret of {args.conn_id!r}, shown this once:", generated)
    terminal.say(
        f"The old secret signs too until {until}; put the new one into the receiver before then."
        if until
        else "The old secret signs no more; put the new one into the receiver now."
    )
