"""`WebhookNotifier`, and the callbacks that attach it to a DAG or to all its tasks.

Invariant: a callback of ours raises nothing, so that it never changes the state of a task or run; it leaves at
most one line in the log, without a secret or a URL path; and all of them in one process stay within one budget.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseNotifier

from airflow_webhook_notify import topics as known
from airflow_webhook_notify.budget import Budget
from airflow_webhook_notify.exceptions import BudgetExhaustedError, ConfigurationError, DeliveryError, WebhookError
from airflow_webhook_notify.names import DEFAULT_CONN_ID

# Every parse of a DAG file pays for what is imported here, so what only a callback needs is imported by it.
if TYPE_CHECKING:
    from airflow_webhook_notify.executions import Sources
    from airflow_webhook_notify.hooks import WebhookHook
    from airflow_webhook_notify.models import Event, Webhook

#: What all callbacks of this process may take together.
PROCESS_BUDGET = Budget()
#: Less than this is too little for an attempt that could succeed, in seconds.
_LEAST = 0.1
#: What a hand-over may take although the budget is spent, in seconds.
_LEAST_HAND_OVER = 1.0


class WebhookNotifier(BaseNotifier):
    """Sends the event of the callback that it is attached to, to a webhook.

    Attach it to any callback of a DAG or task, alone or in a list; a deadline alert takes it as
    `AsyncCallback(WebhookNotifier, kwargs={"webhook_conn_id": …})`.

    :param webhook_conn_id: id of a Connection of type `webhook`
    :param topics: send only these, of those that the webhook hears of; default: all of them
    :param data: what goes into the event under `Data.Custom`; texts in it are templates
    :raises ConfigurationError: for a topic that does not exist, or data that is no mapping
    """

    template_fields: Sequence[str] = ("data",)

    def __init__(
        self,
        webhook_conn_id: str = DEFAULT_CONN_ID,
        topics: Sequence[str] | None = None,
        data: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not webhook_conn_id:
            raise ConfigurationError("webhook_conn_id", "must be the id of a Connection of type webhook")
        if data is not None and not isinstance(data, Mapping):
            raise ConfigurationError("data", 'must be a mapping, such as {"run": "{{ run_id }}"}')
        self.webhook_conn_id = webhook_conn_id
        self.topics = None if topics is None else _check(topics)
        self.data: Mapping[str, Any] = {} if data is None else data
        #: The Airflow state that the callback stands for, where its context does not say.
        self.fallback_state: str | None = None

    def __call__(self, *args: Any) -> None:
        """Send the event of the callback with this context; never raises."""
        self.notify(args[0])

    def __await__(self) -> Generator[Any, None, None]:
        """Send the event of the deadline alert whose context was given to the constructor; never raises."""
        return self.async_notify(self.context).__await__()

    def notify(self, context: Any) -> None:
        """Send the event of the callback with this context; never raises."""
        started = time.monotonic()
        try:
            self._notify(context, PROCESS_BUDGET.remaining(now=started))
        except Exception as error:  # noqa: BLE001 - a callback of ours raises nothing
            self._log_failure(error)
        finally:
            ended = time.monotonic()
            PROCESS_BUDGET.spend(ended - started, now=ended)

    async def async_notify(self, context: Any) -> None:
        """Send the event of the deadline alert with this context; never raises."""
        from asgiref.sync import sync_to_async

        from airflow_webhook_notify.connection import aget_webhook
        from airflow_webhook_notify.executions import topic_of_context

        try:
            if self._is_wanted(topic_of_context(context)):
                webhook = await aget_webhook(self.webhook_conn_id)
                # In a thread: the triggerer's loop must not wait for a network. No process budget, since a
                # triggerer lives long and kills nobody for being slow.
                await sync_to_async(self._send, thread_sensitive=False)(webhook, context, None)
        except Exception as error:  # noqa: BLE001 - a callback of ours raises nothing
            self._log_failure(error)

    def _notify(self, context: Any, remaining: float) -> None:
        # First, since it is mostly waiting, for other processes, and the imports below take as long.
        from airflow_webhook_notify.connection_reading import Reading

        started = time.monotonic()
        reading = Reading(self.webhook_conn_id)
        from airflow_webhook_notify.connection import parse_webhook
        from airflow_webhook_notify.executions import topic_of_context
        from airflow_webhook_notify.hooks import intake_seems_well

        topic = topic_of_context(context, fallback_state=self.fallback_state)
        if not self._is_wanted(topic):
            return
        # Handing over takes milliseconds, so an event is still handed over where the budget is spent: a cold DAG
        # processor can spend it on reading the first Connection. Only an intake that has failed is not asked again.
        if remaining < _LEAST and not intake_seems_well():
            raise BudgetExhaustedError(f"{topic} was not sent: {_spent()}")
        webhook = parse_webhook(reading.result())
        if topic == known.OVERDUE or topic in webhook.topics:
            self._send(webhook, context, remaining - (time.monotonic() - started))

    def _is_wanted(self, topic: str | None) -> bool:
        return topic is not None and (self.topics is None or topic in self.topics)

    def _send(self, webhook: Webhook, context: Any, limit: float | None) -> None:
        from airflow_webhook_notify.executions import build_event
        from airflow_webhook_notify.hooks import WebhookHook

        sources = _sources()
        custom = self._render_data(context)
        built = build_event(context, custom, sources, fallback_state=self.fallback_state)
        for problem in built.problems:
            self.log.warning("webhook %s: event %s: %s", webhook.id, built.event.id, problem)
        self._hand_over(WebhookHook(webhook.id, webhook=webhook), built.event, limit)

    def _hand_over(self, hook: WebhookHook, event: Event, limit: float | None) -> None:
        from airflow_webhook_notify.handover import HandOverError

        started = time.monotonic()
        try:
            delivery_id = hook.enqueue(event, timeout=None if limit is None else max(limit, _LEAST_HAND_OVER))
        except HandOverError as error:
            left = None if limit is None else limit - (time.monotonic() - started)
            if left is not None and left < _LEAST:
                raise BudgetExhaustedError(f"{event.topic} {event.id} was not sent: {error}, and {_spent()}") from None
            self._deliver(hook, event, left, why=str(error))
        else:
            self.log.info("webhook %s: %s %s is delivery %s", hook.webhook.id, event.topic, event.id, delivery_id)

    def _deliver(self, hook: WebhookHook, event: Event, limit: float | None, *, why: str) -> None:
        from airflow_webhook_notify import config

        deadline = config.DIRECT_DEADLINE.read()
        try:
            hook.deliver(event, deadline=deadline if limit is None else min(deadline, limit))
        except DeliveryError as error:
            raise DeliveryError(f"{error}. It was tried directly, since {why}") from None
        self.log.warning(
            "webhook %s: %s %s was delivered directly to %s, since %s",
            hook.webhook.id,
            event.topic,
            event.id,
            hook.webhook.origin,
            why,
        )

    def _render_data(self, context: Any) -> Mapping[str, Any]:
        if not self.data:
            return {}
        # Not `render_template_fields`, which renders in place and writes into the context that all callbacks share:
        # a second call would send the first one's text again. And it logs the template with a stack trace.
        try:
            environment = self.get_template_env(dag=context.get("dag"))
            scope = _scope_of(context)
            return cast("Mapping[str, Any]", self.render_template(dict(self.data), scope, environment))
        except Exception as error:  # noqa: BLE001 - a template may raise anything
            kind = type(error).__name__
            self.log.warning(
                "webhook %s: `data` is left out of the event: its template raised %s", self.webhook_conn_id, kind
            )
            return {"(left out)": f"the template of data raised {kind}"}

    def _log_failure(self, error: Exception) -> None:
        if isinstance(error, WebhookError):
            self.log.error("webhook %s: %s", self.webhook_conn_id, error)
            return
        # Its text may hold anything, so only its kind and its place are shown.
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        place = f"{frame.tb_frame.f_code.co_filename}:{frame.tb_lineno}" if frame else "an unknown place"
        self.log.error(
            "webhook %s: no event was sent: unexpected %s at %s", self.webhook_conn_id, type(error).__name__, place
        )


def _spent() -> str:
    return f"the webhooks of this process have used their {PROCESS_BUDGET.seconds:g} s"


def _scope_of(context: Any) -> Any:
    scope = dict(context)
    if "run_id" not in scope and isinstance(run := scope.get("dag_run"), Mapping):
        # A deadline alert gets the run as the REST API writes it; templates should need no other names for that.
        scope.update(run_id=run.get("dag_run_id"), dag_id=run.get("dag_id"))
    return scope


def _check(topics: Sequence[str]) -> tuple[str, ...]:
    if isinstance(topics, str):
        raise ConfigurationError("topics", f"must be a list, such as [{topics!r}]")
    named = [topic for topic in topics if topic != known.OVERDUE]
    return (*known.check_topics(named), *(topic for topic in topics if topic == known.OVERDUE))


def _sources() -> Sources:
    from airflow.configuration import conf
    from airflow.sdk.log import redact  # type: ignore[attr-defined]

    from airflow_webhook_notify import config
    from airflow_webhook_notify.executions import Sources

    return Sources(
        organization_id=config.organization_id(),
        now=int(time.time() * 1000),
        redact=lambda text, key: str(redact(text, key)),
        base_url=conf.get("api", "base_url", fallback=None) or None,
    )


def task_callbacks(
    webhook_conn_id: str = DEFAULT_CONN_ID,
    *,
    topics: Sequence[str] | None = None,
    data: Mapping[str, Any] | None = None,
    retries: bool = False,
    skips: bool = False,
) -> dict[str, Any]:
    """Return the callbacks that report every task, for `default_args` of a DAG or the arguments of a task.

    :param retries: report also each try that failed and will be tried again
    :param skips: report also tasks that skip themselves
    :raises ConfigurationError: for a topic that does not exist, or data that is no mapping
    """
    states = {"on_execute_callback": "running", "on_success_callback": "success", "on_failure_callback": "failed"}
    if retries:
        states["on_retry_callback"] = "up_for_retry"
    if skips:
        states["on_skipped_callback"] = "skipped"
    return _callbacks(states, webhook_conn_id, topics, data)


def dag_callbacks(
    webhook_conn_id: str = DEFAULT_CONN_ID,
    *,
    topics: Sequence[str] | None = None,
    data: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the callbacks that report every run of a DAG, for the arguments of `DAG(…)`.

    Airflow has no callback for a run that starts.

    :raises ConfigurationError: for a topic that does not exist, or data that is no mapping
    """
    states = {"on_success_callback": "success", "on_failure_callback": "failed"}
    return _callbacks(states, webhook_conn_id, topics, data)


def _callbacks(
    states: Mapping[str, str],
    webhook_conn_id: str,
    topics: Sequence[str] | None,
    data: Mapping[str, Any] | None,
) -> dict[str, Any]:
    # Any: a type checker would else hold each value against every argument of DAG(…) that it might be.
    callbacks = {}
    for name, state in states.items():
        notifier = WebhookNotifier(webhook_conn_id, topics=topics, data=data)
        notifier.fallback_state = state
        # A callback that would never send still costs an empty operator a process of its own.
        if notifier.topics is None or known.topic_of(state) in notifier.topics:
            callbacks[name] = notifier
    return callbacks
