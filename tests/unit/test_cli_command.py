"""What the audit log gets of a command line."""

from __future__ import annotations

from argparse import Namespace

from airflow_webhook_notify.cli.command import audit_line
from airflow_webhook_notify.moments import Moment


def test_the_audit_line_masks_all_but_what_may_be_shown() -> None:
    args = Namespace(
        group="webhook-notify",
        command="add",
        subcommand="add",
        func=print,
        conn_id="ops",
        endpoint="https://example.org/T0/B0",
        authorization="Bearer a",
        secret="whsec_x",
        header=["X-Key: a"],
        proxy="http://user:password@proxy:3128",
        topic=["job.execution.failed", "job.execution.started"],
        dag=[],
        nickname="",
        ca_bundle=None,
        allow_http=True,
        verbose=False,
        later_option="unknown",
    )
    assert audit_line(args) == [
        "airflow", "webhook-notify", "add", "ops",
        "--allow-http",
        "--authorization", "***",
        "--endpoint", "***",
        "--header", "***",
        "--later-option", "***",
        "--proxy", "***",
        "--secret", "***",
        "--topic", "job.execution.failed", "--topic", "job.execution.started",
    ]  # fmt: skip


def test_a_command_without_options_is_shown_whole() -> None:
    assert audit_line(Namespace(group="webhooks", command="list", output="json")) == [
        "airflow", "webhooks", "list", "--output", "json",
    ]  # fmt: skip


def test_ids_and_what_was_asked_for_are_shown() -> None:
    args = Namespace(
        group="webhooks",
        command="redeliver",
        delivery_ids=["a", "b"],
        dead_letters=True,
        since=Moment("2d", ago=172_800_000),
        webhook="ops",
        yes=True,
    )
    assert audit_line(args) == [
        "airflow", "webhooks", "redeliver", "a", "b",
        "--dead-letters", "--since", "2d", "--webhook", "ops", "--yes",
    ]  # fmt: skip
