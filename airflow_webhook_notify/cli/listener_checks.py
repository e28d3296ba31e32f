"""What `doctor` finds about the listener that reports failures.

Invariant: it warns only where Airflow has refused a DAG for it.
"""

from __future__ import annotations

from airflow_webhook_notify import config
from airflow_webhook_notify.cli.checks import Check, State
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.names import SECTION

NAME = "failure reports"
#: What Airflow says of a DAG that it refuses since there is a listener.
_REFUSAL = "Listeners are not supported with end_from_trigger"


def check_failure_reports() -> Check | None:
    """Check whether reporting failures costs a DAG; None where that can't be told."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        if not config.FAILURE_REPORTS.read():
            return Check(NAME, State.OK, "off: subscriptions tell of failures without message and exit status")
        refused = _refused()
    except (ConfigurationError, SQLAlchemyError):
        # Other checks say so.
        return None
    if not refused:
        return Check(NAME, State.OK, "on: a failed task leaves its message in an XCom")
    files = ", ".join(refused)
    return Check(
        NAME,
        State.WARNING,
        f"Airflow refuses DAGs with end_from_trigger=True wherever any listener is: {files}; "
        f"set [{SECTION}] failure_reports to False, or end_from_trigger to False there",
    )


def _refused() -> list[str]:
    from airflow.models.errors import ParseImportError
    from airflow.utils.session import create_session
    from sqlalchemy import select

    found = select(ParseImportError.filename).where(ParseImportError.stacktrace.contains(_REFUSAL)).limit(5)
    with create_session(scoped=False) as session:
        return [str(name) for name in session.scalars(found)]
