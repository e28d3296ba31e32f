"""A receiver that starts the DAG `rollback` when it hears that the DAG `deploy` has failed.

Standard library and `airflow_webhook_notify.signing`, which needs no Airflow. To start it:

    WEBHOOK_SECRET=whsec_… AIRFLOW_URL=https://airflow.example.com AIRFLOW_USER=… AIRFLOW_PASSWORD=… \
        python rollback_receiver.py

It listens on 127.0.0.1; in earnest it stands behind a server that does TLS.
"""

from __future__ import annotations

import json
import logging
import os
import re
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from airflow_webhook_notify.exceptions import VerificationError
from airflow_webhook_notify.signing import verify

log = logging.getLogger("rollback_receiver")


class Receiver(BaseHTTPRequestHandler):
    """Takes events, and refuses all that is not signed with our secret."""

    timeout = 10  # seconds that a client may leave us waiting

    def do_POST(self) -> None:
        """Verify, act, answer."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch("[0-9]{1,6}", length):  # below 1 MB; no event is near that
            return self.answer(413)
        body = self.rfile.read(int(length))
        try:
            # With the timestamp, or whoever caught one request could start rollbacks for ever.
            verified = verify(body, self.headers, os.environ["WEBHOOK_SECRET"], require_timestamp=True)
        except VerificationError as error:
            log.warning("refused: %s", error)
            return self.answer(401)
        event = json.loads(body)
        # The webhook may hear of more than this receiver acts on; a ping is one of them.
        if event["Topic"] != "job.execution.failed" or event["Data"]["JobId"] != "deploy":
            return self.answer(204)
        try:
            start_rollback(event["Data"]["Airflow"], event_id=str(verified.id))
        except OSError as error:
            # Not 2xx, so the event comes again.
            log.warning("no rollback was started: %s", error)
            return self.answer(503)
        return self.answer(204)

    def answer(self, status: int) -> None:
        """Answer with a status and no body."""
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: the path of a webhook's URL is a credential."""


def start_rollback(failed: dict[str, Any], *, event_id: str) -> None:
    """Start a run of `rollback` for the run that failed.

    :raises OSError: where Airflow does not take it
    """
    run = {
        # Named after the event: where it comes twice, Airflow knows the second run already and answers 409.
        "dag_run_id": f"rollback_for_{event_id}",
        "logical_date": None,
        "conf": {"dag_id": failed["DagId"], "run_id": failed["RunId"]},
    }
    try:
        call_airflow("/api/v2/dags/rollback/dagRuns", run, token=fetch_token())
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise
    log.info("rolling back %s of %s", failed["RunId"], failed["DagId"])


def fetch_token() -> str:
    """Return a token for Airflow's REST API."""
    user = {"username": os.environ["AIRFLOW_USER"], "password": os.environ["AIRFLOW_PASSWORD"]}
    return str(call_airflow("/auth/token", user)["access_token"])


def call_airflow(path: str, data: dict[str, Any], *, token: str | None = None) -> dict[str, Any]:
    """POST JSON to Airflow and return its answer.

    :raises OSError: where it does not answer within 5 s, or with an error
    """
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    url = os.environ["AIRFLOW_URL"].rstrip("/") + path
    request = urllib.request.Request(url, json.dumps(data).encode(), headers)  # noqa: S310 - the operator's own URL
    # Shorter than the sender waits for our answer.
    with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - the operator's own URL
        return dict(json.load(answer))


def main() -> None:
    """Listen until stopped."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Receiver)
    log.info("listening on port %s", server.server_port)
    server.serve_forever()


if __name__ == "__main__":
    main()
