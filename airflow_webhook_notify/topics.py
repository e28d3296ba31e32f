"""Topics, and the one mapping from Airflow's states to them.

Invariant: every state that a job execution can end in maps to exactly one topic and one `State`.
"""

from __future__ import annotations

from collections.abc import Iterable

from airflow_webhook_notify.exceptions import ConfigurationError

STARTED = "job.execution.started"
SUCCEEDED = "job.execution.succeeded"
FAILED = "job.execution.failed"
OVERDUE = "job.execution.overdue"
PING = "webhook.ping"

#: The topics that a webhook may name, and all that it hears of when it names none. A job that is overdue is
#: sent only where a DAG author attached a webhook to a deadline, so it is not among them.
JOB_TOPICS: tuple[str, ...] = (STARTED, SUCCEEDED, FAILED)

_TOPIC_OF_STATE = {
    "running": STARTED,
    "success": SUCCEEDED,
    # A skipped task did what its DAG asked of it, so a receiver must not see a failure.
    "skipped": SUCCEEDED,
    "failed": FAILED,
    "up_for_retry": FAILED,
    "upstream_failed": FAILED,
}

_STATE_OF_TOPIC = {STARTED: "running", SUCCEEDED: "succeeded", FAILED: "failed", OVERDUE: "running"}


def topic_of(airflow_state: str) -> str | None:
    """Return the topic for an Airflow state of a DAG run or task instance; None where it has none."""
    return _TOPIC_OF_STATE.get(airflow_state)


def state_of(topic: str) -> str:
    """Return `Data.State` for a job topic.

    :raises KeyError: for a topic that is not about a job execution
    """
    return _STATE_OF_TOPIC[topic]


def check_topics(topics: Iterable[str]) -> tuple[str, ...]:
    """Return the topics, each once.

    :raises ConfigurationError: for one that does not exist
    """
    named = tuple(dict.fromkeys(topics))
    for topic in named:
        if topic not in JOB_TOPICS:
            raise ConfigurationError(
                "Topics", f"there is no topic {str(topic)[:80]!r}; the topics are {', '.join(JOB_TOPICS)}"
            )
    return named
