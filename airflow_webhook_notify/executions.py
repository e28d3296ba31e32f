"""A callback's context to an `Event`.

Invariant: reads only what the context already holds (no database, no network), and raises nothing for a context
that lacks something: Airflow's contexts differ by process and version, and an event with a gap beats none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote

from airflow_webhook_notify import topics
from airflow_webhook_notify.custom import Redact, Sanitizer
from airflow_webhook_notify.models import Event, event_id
from airflow_webhook_notify.payloads import JOB_EXECUTION, MAX_DATA
from airflow_webhook_notify.retry_delay import next_retry_at

#: Where operators keep what they run, the most telling first.
COMMAND_FIELDS = ("bash_command", "command", "commands", "cmds", "sql", "application", "notebook_path")
#: What operators say of an exit code in the text of their exception.
_EXIT_CODE = r"(?i)(?:exit(?:ed with)?|return|returned)[ _]?(?:code|status)\b\D{0,24}?(-?\d{1,6})"
#: What Airflow puts before the module name of a DAG file, to tell two files of one name apart.
_MANGLED = re.compile(r"^unusual_prefix_[0-9a-f]{40}_")
_TRIGGER_TYPES = {"scheduled": "schedule"}
_RUN_ID_TYPES = ("scheduled", "manual", "backfill", "asset_triggered")
#: The order in which docs/receiving.md names what is always there.
_ORDER = (
    "Id",
    "JobId",
    "OrganizationId",
    "State",
    "TriggerType",
    "AttemptsCount",
    "NextAttemptAt",
    "CreatedAt",
    "UpdatedAt",
    "Target",
    "LastAttempt",
    "Airflow",
    "Custom",
)
NO_REASON = "Airflow gave no reason; the task's process may have been killed"


class Sources(NamedTuple):
    """What an event is built with besides the context.

    :param organization_id: the deployment
    :param now: milliseconds since the epoch
    :param redact: masks a text; the second argument is the key that it stands under
    :param base_url: of Airflow's UI, for links
    """

    organization_id: str
    now: int
    redact: Redact
    base_url: str | None = None


class Built(NamedTuple):
    """An event, and what of the author's data could not go into it."""

    event: Event
    problems: tuple[str, ...] = ()


def topic_of_context(context: Mapping[str, Any], *, fallback_state: str | None = None) -> str | None:
    """Return the topic that a callback with this context is about; None where there is none."""
    if "deadline" in context:
        return topics.OVERDUE
    return topics.topic_of(_airflow_state(context, fallback_state))


def build_event(
    context: Mapping[str, Any],
    custom: Mapping[str, Any] | None,
    sources: Sources,
    *,
    fallback_state: str | None = None,
) -> Built:
    """Return the event of the callback that was called with this context.

    :param custom: what the DAG author adds, any values
    :param fallback_state: the Airflow state where the context has none (the DAG processor's, after a task died)
    :raises KeyError: where the context is of no callback with a topic
    """
    state = _airflow_state(context, fallback_state)
    if "deadline" in context:
        facts = _overdue_facts(context)
    elif "reason" in context or context.get("ti") is None:
        facts = _dag_run_facts(context, state)
    else:
        facts = _task_facts(context, state, sources)
    return event_of_facts(facts, custom, sources)


class Facts(NamedTuple):
    """What is known of a job execution, before it is masked and capped.

    :param identity: the arguments of :func:`event_id` but the deployment's
    :param data: `Data` in the wire's keys, without texts
    :param at: milliseconds since the epoch
    """

    topic: str
    identity: dict[str, Any]
    data: dict[str, Any]
    command: object = None
    message: str | None = None
    at: int | None = None


def event_of_facts(facts: Facts, custom: Mapping[str, Any] | None, sources: Sources) -> Built:
    """Return the event of a job execution, whoever noticed it."""
    texts = Sanitizer(sources.redact, limit=MAX_DATA)
    data = dict(facts.data)
    at = facts.at or sources.now
    data["OrganizationId"] = sources.organization_id
    data["CreatedAt"] = data["CreatedAt"] or at
    data["UpdatedAt"] = at
    data["Target"] = {**data["Target"], "Command": texts.sanitize(facts.command, path="Target.Command")}
    data["LastAttempt"] = {
        **data["LastAttempt"],
        "CreatedAt": data["LastAttempt"]["CreatedAt"] or at,
        "Message": texts.sanitize(facts.message, path="LastAttempt.Message"),
    }
    data["Airflow"] = {**data["Airflow"], "LogUrl": _log_url(data["Airflow"], sources.base_url)}
    # What stands beside the author's data takes at most two capped texts and some ids.
    author = Sanitizer(sources.redact, limit=MAX_DATA - 16 * 1024)
    data["Custom"] = _sanitized_custom(author, custom)
    problems = (*texts.problems, *author.problems)
    if problems:
        data["Truncated"] = True
    identifier = event_id(organization_id=sources.organization_id, **facts.identity)
    data = {name: data[name] for name in (*_ORDER, *(name for name in data if name not in _ORDER))}
    event = Event(identifier, facts.topic, at, sources.organization_id, JOB_EXECUTION, data)
    return Built(event, problems)


def _sanitized_custom(author: Sanitizer, custom: Mapping[str, Any] | None) -> object:
    try:
        return author.sanitize(dict(custom or {}), path="data")
    except Exception as error:  # noqa: BLE001
        # Objects of the author's own may raise whatever they like when they are looked at.
        author.problems.append(f"data is left out: reading it raised {type(error).__name__}")
        return {}


def _airflow_state(context: Mapping[str, Any], fallback_state: str | None) -> str:
    if "reason" in context:
        return "success" if context["reason"] == "success" else "failed"
    ti = context.get("ti")
    state = getattr(ti, "state", None)
    if state is not None:
        return str(getattr(state, "value", state))
    if fallback_state is not None or ti is None:
        return fallback_state or ""
    # The DAG processor calls only failure and retry callbacks of tasks, and does not say which.
    return "up_for_retry" if _number(ti, "try_number") <= _number(ti, "max_tries") else "failed"


def _task_facts(context: Mapping[str, Any], state: str, sources: Sources) -> Facts:
    ti, task = context["ti"], getattr(context["ti"], "task", None) or context.get("task")
    topic = topics.topic_of(state) or topics.FAILED
    exception = context.get("exception")
    ended = topic != topics.STARTED
    at = _ms(getattr(ti, "end_date" if ended else "start_date", None)) or sources.now
    started = _ms(getattr(ti, "start_date", None))
    return Facts(
        topic=topic,
        identity=_task_identity(context, ti, topic),
        data={
            "Id": str(ti.id),
            "JobId": f"{ti.dag_id}.{ti.task_id}",
            "State": topics.state_of(topic),
            "TriggerType": _trigger_type(context, ti.run_id),
            "AttemptsCount": _number(ti, "try_number"),
            "NextAttemptAt": next_retry_at(ti, task, context, end=at) if state == "up_for_retry" else None,
            "CreatedAt": started,
            "Target": {"Type": "task", "TimeToLive": _seconds(getattr(task, "execution_timeout", None))},
            "LastAttempt": {
                "Id": str(ti.id),
                "State": topics.state_of(topic),
                "CreatedAt": started,
                "ExitStatus": exit_status(topic, exception),
            },
            "Airflow": _task_reference(context, ti, task, state),
        },
        command=_command(task),
        message=_task_message(topic, exception),
        at=at,
    )


def _task_identity(context: Mapping[str, Any], ti: Any, topic: str) -> dict[str, Any]:
    try_number = _number(ti, "try_number")
    return {
        "dag_id": ti.dag_id,
        "run_id": ti.run_id,
        # A try number never comes again, so the clear number adds nothing to it; and it is what a run had when the
        # task began, which differs from what the database says where a sibling was cleared meanwhile.
        "clear_number": 0 if try_number else _clear_number(context),
        "task_id": ti.task_id,
        "map_index": _map_index(ti),
        "try_number": try_number,
        "topic": topic,
    }


def _task_reference(context: Mapping[str, Any], ti: Any, task: Any, state: str) -> dict[str, Any]:
    return {
        "DagId": ti.dag_id,
        "RunId": ti.run_id,
        "TaskId": ti.task_id,
        "MapIndex": _map_index(ti),
        "TryNumber": _number(ti, "try_number"),
        "Operator": getattr(task, "operator_name", None) or getattr(task, "task_type", None),
        "State": state,
        "LogicalDate": _iso(_of_run(context, "logical_date")),
    }


def _dag_run_facts(context: Mapping[str, Any], state: str) -> Facts:
    topic = topics.topic_of(state) or topics.FAILED
    reason = context.get("reason")
    failed = topic == topics.FAILED
    return _run_facts(context, topic, state, message=str(reason) if failed and reason else None)


def _overdue_facts(context: Mapping[str, Any]) -> Facts:
    deadline = context["deadline"]
    missed = f"the deadline {deadline.get('deadline_time')} has passed"
    state = str(_of_run(context, "state") or "running")
    facts = _run_facts(context, topics.OVERDUE, state, message=missed)
    # A run may have several deadlines, and each that is missed is an occurrence of its own.
    identity = {**facts.identity, "topic": f"{topics.OVERDUE}#{deadline.get('id')}"}
    return Facts(facts.topic, identity, facts.data, message=missed)


def _run_facts(context: Mapping[str, Any], topic: str, state: str, *, message: str | None) -> Facts:
    dag = context.get("dag")
    run_id = str(context.get("run_id") or _of_run(context, "run_id", "dag_run_id"))
    dag_id = str(getattr(dag, "dag_id", None) or _of_run(context, "dag_id"))
    clear_number, started = _clear_number(context), _ms(_of_run(context, "start_date"))
    identity = {"dag_id": dag_id, "run_id": run_id, "clear_number": clear_number, "task_id": None}
    return Facts(
        topic=topic,
        identity={**identity, "map_index": -1, "try_number": 0, "topic": topic},
        data={
            "Id": run_id,
            "JobId": dag_id,
            "State": topics.state_of(topic),
            "TriggerType": _trigger_type(context, run_id),
            "AttemptsCount": clear_number + 1,
            "NextAttemptAt": None,
            "CreatedAt": started,
            "Target": {"Type": "dag", "TimeToLive": _seconds(getattr(dag, "dagrun_timeout", None))},
            "LastAttempt": {
                "Id": run_id,
                "State": topics.state_of(topic),
                "CreatedAt": started,
                "ExitStatus": exit_status(topic, None),
            },
            "Airflow": {
                "DagId": dag_id,
                "RunId": run_id,
                "TaskId": None,
                "MapIndex": -1,
                "TryNumber": 0,
                "Operator": None,
                "State": state,
                "LogicalDate": _iso(_of_run(context, "logical_date")),
            },
        },
        message=message,
        at=_ms(_of_run(context, "end_date")) if topic != topics.OVERDUE else None,
    )


def exit_status(topic: str, exception: object) -> int | None:
    """Return the exit status of a job execution; None while it runs.

    0 on success; on failure the exit code that the exception carries, else 1.
    """
    if topic == topics.SUCCEEDED:
        return 0
    if topic != topics.FAILED:
        return None
    for name in ("returncode", "exit_code", "code"):
        code = getattr(exception, name, None)
        if isinstance(code, int) and not isinstance(code, bool) and code != 0:
            return code
    found = re.search(_EXIT_CODE, text_of(exception)) if exception is not None else None
    return int(found[1]) or 1 if found else 1


def text_of(exception: object) -> str:
    """Return the kind and the text of an exception, whatever its `__str__` does."""
    try:
        text = str(exception)[:65536]
    except Exception:  # noqa: BLE001 - the author's own exceptions may raise in `__str__`
        text = "(its text can't be read)"
    if not isinstance(exception, BaseException):
        return text
    return f"{type(exception).__name__}: {text}" if text else type(exception).__name__


def _task_message(topic: str, exception: object) -> str | None:
    if topic == topics.STARTED:
        return None
    if exception is not None:
        return text_of(exception)
    return NO_REASON if topic == topics.FAILED else None


def _command(task: Any) -> object:
    for name in COMMAND_FIELDS:
        value = getattr(task, name, None)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list | tuple) and value:
            return " ".join(map(str, value))
    function = getattr(task, "python_callable", None)
    if function is None:
        return None
    module = _MANGLED.sub("", str(getattr(function, "__module__", "?")))
    return f"{module}.{getattr(function, '__qualname__', type(function).__name__)}"


def _of_run(context: Mapping[str, Any], *names: str) -> Any:
    run = context.get("dag_run")
    for name in names:
        # A deadline alert's context holds the run as the REST API writes it.
        value = run.get(name) if isinstance(run, Mapping) else getattr(run, name, None)
        if value is not None:
            return getattr(value, "value", value)
    return None


def _trigger_type(context: Mapping[str, Any], run_id: str) -> str:
    run_type = _of_run(context, "run_type")
    if run_type is None:
        prefix = run_id.partition("__")[0]
        run_type = prefix if prefix in _RUN_ID_TYPES else "manual"
    return trigger_type_of(str(run_type))


def trigger_type_of(run_type: str) -> str:
    """Return `TriggerType` for a run's type in Airflow."""
    return _TRIGGER_TYPES.get(run_type, run_type)


def _clear_number(context: Mapping[str, Any]) -> int:
    number = _of_run(context, "clear_number")
    return number if isinstance(number, int) else 0


def _map_index(ti: Any) -> int:
    index = getattr(ti, "map_index", None)
    return index if isinstance(index, int) else -1


def _number(holder: Any, name: str) -> int:
    value = getattr(holder, name, None)
    return value if isinstance(value, int) else 0


def _ms(value: object) -> int | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return None
    return int(value.timestamp() * 1000) if isinstance(value, datetime) else None


def _iso(value: object) -> str | None:
    return value.isoformat() if isinstance(value, datetime) else (value if isinstance(value, str) else None)


def _seconds(value: object) -> float | None:
    total = getattr(value, "total_seconds", None)
    return None if total is None else (int(total()) if total() == int(total()) else total())


def _log_url(reference: Mapping[str, Any], base_url: str | None) -> str | None:
    if not base_url:
        return None
    url = f"{base_url.rstrip('/')}/dags/{quote(reference['DagId'])}/runs/{quote(reference['RunId'], safe='')}"
    if reference["TaskId"] is None:
        return url
    mapped = f"/mapped/{reference['MapIndex']}" if reference["MapIndex"] >= 0 else ""
    return f"{url}/tasks/{quote(reference['TaskId'])}{mapped}?try_number={reference['TryNumber']}"
