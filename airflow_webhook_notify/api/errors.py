"""The answers that are no success, as the description of the REST API lists them.

Invariant: every route of the API can answer 401, 403, 422 and 503, so all of them list these.
"""

from __future__ import annotations

from typing import Any

from airflow_webhook_notify.api.schemas import Problem

_MEANINGS = {
    400: "The body can't be read.",
    401: "Not signed in.",
    403: "You may not, or a page of another site asked for it.",
    404: "There is none of that id.",
    409: "The id is taken, or the webhook is kept in the environment or a secrets backend and is changed there.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "A field can't be used; the text names it and says what to put there.",
    503: "The database can't be used now, or `airflow db migrate` was not run.",
}
_ALWAYS = (401, 403, 422, 503)
#: Of the routes that change something.
_OF_BODIES = (400, 413, 415)


def errors(*statuses: int, body: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` of a route, with those that every route has.

    :param body: whether it takes one, or may be sent one
    """
    return described(*_ALWAYS, *(_OF_BODIES if body else ()), *statuses)


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return FastAPI's `responses` of a route that has these alone."""
    return {status: {"model": Problem, "description": _MEANINGS[status]} for status in sorted(set(statuses))}
