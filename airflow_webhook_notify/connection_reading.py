"""Reading a Connection, in whatever process this is.

Invariant: imports nothing but Airflow's own way to do it, so that a callback can begin to read before it has
imported what it needs; what is raised shows nothing of what a secrets backend was asked for or answered.
"""

from __future__ import annotations

import contextvars
import os
import threading
from typing import Protocol

from airflow_webhook_notify.exceptions import ConfigurationError


class UnknownWebhookError(ConfigurationError):
    """There is no Connection of that id, or it is not a webhook."""

    def __init__(self, conn_id: str, problem: str) -> None:
        super().__init__(f"Connection {conn_id[:250]!r}", problem)


class StoredConnection(Protocol):
    """The part of Airflow's Connections, of the Task SDK and of the core, that this package reads."""

    conn_id: str
    conn_type: str | None
    description: str | None
    host: str | None
    password: str | None
    extra: str | None


def read(conn_id: str) -> StoredConnection:
    """Return the Connection of that id, wherever this process runs.

    :raises ConfigurationError: where there is none or it can't be read
    """
    from airflow.sdk import BaseHook

    try:
        if _in_airflow_process():
            return BaseHook.get_connection(conn_id)
        # `airflow` commands: there the Task SDK does not look into the metadata database (AIRFLOW.md, section 2).
        from airflow.models.connection import Connection

        return Connection.get_connection_from_secrets(conn_id)
    except Exception as error:  # noqa: BLE001 - a secrets backend may raise anything
        raise unreadable(conn_id, error) from None


def _in_airflow_process() -> bool:
    from airflow.sdk.execution_time import task_runner

    return bool(os.environ.get("_AIRFLOW_PROCESS_CONTEXT") or getattr(task_runner, "SUPERVISOR_COMMS", None))


def unreadable(conn_id: str, error: Exception) -> ConfigurationError:
    """Return what to raise where reading failed, whatever a secrets backend raised."""
    # By name: the Task SDK and the core each have such an exception, and not in every version in one place.
    if type(error).__name__ == "AirflowNotFoundException":
        problem = "does not exist; make it with `airflow webhooks add` or in Admin, Connections"
        return UnknownWebhookError(conn_id, problem)
    # The text of a secrets backend's error may hold what it was asked for or answered, so only its kind is shown.
    return UnknownWebhookError(conn_id, f"can't be read ({type(error).__name__}); see the log of Airflow's API server")


class Reading:
    """A Connection that is being read while the caller does something else.

    Reading one in a task is mostly waiting, for three other processes.
    """

    def __init__(self, conn_id: str) -> None:
        self._conn_id = conn_id
        self._conn: StoredConnection | None = None
        self._error: Exception | None = None
        # Airflow tells by context variables where a Connection comes from.
        self._thread = threading.Thread(target=contextvars.copy_context().run, args=(self._read,), daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            self._conn = read(self._conn_id)
        except Exception as error:  # noqa: BLE001 - raised where it is waited for
            self._error = error

    def result(self) -> StoredConnection:
        """Return the Connection, once it is there.

        :raises ConfigurationError: where there is none or it can't be read
        """
        self._thread.join()
        if self._conn is None:
            raise self._error or unreadable(self._conn_id, RuntimeError())
        return self._conn
