"""What a request that can't be done is answered.

Invariant: one clear text under `detail`, as Airflow's own API has it; never what the request held, which may be a
secret, and never a statement of the database.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import SQLAlchemyError

from airflow_webhook_notify.connection_reading import UnknownWebhookError
from airflow_webhook_notify.connection_store import ReadOnlyError, TakenError
from airflow_webhook_notify.exceptions import ConfigurationError, OutboxUnavailableError

log = logging.getLogger(__name__)

#: The most specific first.
_STATUSES = ((UnknownWebhookError, 404), (TakenError, 409), (ReadOnlyError, 409), (ConfigurationError, 422))
#: How much of a name that the request brought is repeated.
_NAME = 80
#: In place of pydantic's words where ours say more.
_WORDS = {
    "extra_forbidden": "is no field of this request; see its description in v1/openapi.json",
    "missing": "is missing",
    "json_invalid": "the body is not JSON",
}


def answer_problems(app: FastAPI) -> None:
    """Let the app answer our errors."""
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ConfigurationError, _unusable)
    app.add_exception_handler(OutboxUnavailableError, _unavailable)
    app.add_exception_handler(SQLAlchemyError, _unreachable)


def mended(text: str) -> str:
    """Return the text without half characters, which no answer can hold."""
    return text.encode("utf-8", "replace").decode()


def _answer(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": mended(detail)}, status_code=status)


def _invalid(_request: Request, error: Exception) -> JSONResponse:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    return _answer(422, "; ".join(_describe(problem) for problem in problems[:10]))


def _describe(problem: dict[str, Any]) -> str:
    kind, where = str(problem.get("type")), _place(problem.get("loc", ()))
    words = _WORDS.get(kind, str(problem.get("msg")))
    return words if kind == "json_invalid" or not where else f"{where}: {words}"


def _place(loc: Sequence[object]) -> str:
    # The first says whether it stood in the body, the query or the path.
    return ".".join(str(part)[:_NAME] for part in loc[1:])


def _unusable(_request: Request, error: Exception) -> JSONResponse:
    status = next(status for kind, status in _STATUSES if isinstance(error, kind))
    return _answer(status, str(error))


def _unavailable(_request: Request, error: Exception) -> JSONResponse:
    log.warning("webhooks: a request could not be answered: %s", error)
    return _answer(503, str(error))


def _unreachable(_request: Request, error: Exception) -> JSONResponse:
    # Its text can hold the values of the statement.
    kind = type(error).__name__
    log.warning("webhooks: a request could not be answered: the metadata database can't be used (%s)", kind)
    return _answer(503, f"the metadata database can't be used ({kind}); try again later")
