"""Airflow's audit log, which hears of every change that is asked for here.

Invariant: an entry is written before the change is tried, and names what was asked for: never a secret, an
Authorization value, a header or a URL.
"""

from __future__ import annotations

import json

from airflow_webhook_notify.api.access import Visitor


def note(visitor: Visitor, event: str, **extra: object) -> None:
    """Write down that somebody asks for a change.

    :param event: what Airflow's audit log calls it
    :param extra: JSON values; what is None is left out
    """
    from airflow.models.log import Log
    from airflow.utils.session import create_session

    told = {name: value for name, value in extra.items() if value is not None}
    entry = Log(
        event=event, task_instance=None, owner=visitor.name, owner_display_name=visitor.name, extra=json.dumps(told)
    )
    with create_session(scoped=False) as session:
        session.add(entry)
