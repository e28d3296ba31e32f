"""The answers that are no success, as the description of the REST API lists them.

Invariant: every route of the API can answer 401, 403 and 503, so all of them list these.
"""

from __future__ import annotations

from typing import Any

from airflow_webhook_notify.api.schemas import Problem

_MEANINGS = {
    401: "Not signed in.",
    403: "You may not, or a page of another site asked for it.",
    404: "There is none of that id.",
    409: "The id is taken, or the webhook is kept in the environment or a secrets backend and is changed there.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "A field can't be used; the text names it and says what to put there.",
    503: "The database can't be used now, or `airflow db migrate` was not run.",
}
ALWAYS = (401, 403, 503)


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` of a route, with those that every route has."""
    return {status: {"model": Problem, "description": _MEANINGS[status]} for status in sorted({*ALWAYS, *statuses})}
