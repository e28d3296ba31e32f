"""What the REST API takes and answers, as its description shows it.

Invariant: no model of an answer has a field for a secret but the one that tells of a new one, and none for an
Authorization value or the value of a header.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from airflow_webhook_notify import connection_form as form
from airflow_webhook_notify.api.problems import mended
from airflow_webhook_notify.models import Level


def _mend(value: object) -> object:
    return mended(value) if isinstance(value, str) else value


#: A text that others wrote, which may hold what no answer can.
Text = Annotated[str, BeforeValidator(_mend)]
Set = Literal["set", "not set"]
Moment = Annotated[str | None, Field(description="ISO 8601, UTC.")]


class Problem(BaseModel):
    """Why a request was not done, and what to do."""

    detail: str


class HourOut(BaseModel):
    """What became of the deliveries that were taken in during one hour."""

    delivered: int
    failed: Annotated[int, Field(description="Dead letters, and what waits for another try after one that failed.")]


class LastDelivery(BaseModel):
    """The delivery that was taken in last."""

    id: str
    state: str
    status: Annotated[int | None, Field(description="HTTP status of the latest attempt.")]
    at: Annotated[str | None, Field(description="When it was taken in. ISO 8601, UTC.")]


class WebhookOut(BaseModel):
    """A webhook, and how it is doing. Its fields are null where its Connection can't be used."""

    id: Text
    nickname: Text
    endpoint: Annotated[Text | None, Field(description="The whole URL for who may edit the webhook; else its origin.")]
    topics: list[Text] | None
    dags: list[Text] | None
    tags: list[Text] | None
    level: str | None
    retries: bool | None
    roll_up: float | None
    rate: float | None
    heartbeat: float | None
    header_names: Annotated[list[Text] | None, Field(description="Of the extra headers; their values are not shown.")]
    authorization: Set | None
    proxy: Set | None
    timeout: float | None
    connect_timeout: float | None
    verify: bool | None
    ca_bundle: Text | None
    allow_http: bool | None
    secrets: Annotated[int | None, Field(description="How many signing secrets sign now.")]
    old_secret_until: Annotated[Moment, Field(description="Until when an older signing secret signs too.")]
    source: Literal["database", "environment", "secrets backend"]
    editable: Annotated[bool, Field(description="Whether it can be changed here, and you may.")]
    state: Literal["active", "failing", "paused", "unusable"]
    state_reason: Text | None
    paused_at: Moment
    failing_since: Moment
    last_success_at: Moment
    waiting: Annotated[int, Field(description="Deliveries that are pending.")]
    dead_letters: int
    success_rate: Annotated[
        float | None, Field(description="Of the last 24 hours, 0 to 1; null where nothing was tried.")
    ]
    hours: Annotated[list[HourOut], Field(description="The last 24 hours, the oldest first.")]
    last_delivery: LastDelivery | None
    outbox_problem: Annotated[
        Text | None, Field(description="Why the outbox can't be read, so that its figures say nothing.")
    ]


class WebhooksOut(BaseModel):
    """A page of webhooks, by id."""

    webhooks: list[WebhookOut]
    cursor: Annotated[str | None, Field(description="Give it back to get the next page; null where there is none.")]
    problem: Annotated[Text | None, Field(description="Why the outbox can't be read, and what to do.")]


class Settings(BaseModel):
    """What can be set of a webhook."""

    # An unknown field is a misspelled one.
    model_config = ConfigDict(extra="forbid")

    nickname: Annotated[str | None, Field(description="What people call it. Default: its id.")] = None
    authorization: Annotated[str | None, Field(description=form.AUTHORIZATION.description)] = None
    topics: Annotated[list[str] | None, Field(description=form.TOPICS.description)] = None
    dags: Annotated[list[str] | None, Field(description=form.DAGS.description)] = None
    tags: Annotated[list[str] | None, Field(description=form.TAGS.description)] = None
    level: Annotated[Level | None, Field(description=form.LEVEL.description)] = None
    retries: Annotated[bool | None, Field(description=form.RETRIES.description)] = None
    roll_up: Annotated[float | None, Field(description=form.ROLL_UP.description)] = None
    rate: Annotated[float | None, Field(description=form.RATE.description)] = None
    heartbeat: Annotated[float | None, Field(description=form.HEARTBEAT.description)] = None
    timeout: Annotated[float | None, Field(description=form.TIMEOUT.description)] = None
    connect_timeout: Annotated[float | None, Field(description=form.CONNECT_TIMEOUT.description)] = None
    verify: Annotated[bool | None, Field(description=form.VERIFY.description)] = None
    ca_bundle: Annotated[str | None, Field(description=form.CA_BUNDLE.description)] = None
    proxy: Annotated[str | None, Field(description=form.PROXY.description)] = None
    allow_http: Annotated[bool | None, Field(description=form.ALLOW_HTTP.description)] = None


class NewWebhook(Settings):
    """A webhook to make."""

    id: Annotated[str, Field(description="Its connection id: up to 250 letters, digits and -_.:/\\#!().")]
    endpoint: Annotated[str, Field(description="The whole HTTPS URL that takes the events.")]
    headers: Annotated[dict[str, str] | None, Field(description="Extra request headers.")] = None
    secret: Annotated[str | None, Field(description="Its signing secret. Default: one is made, and shown once.")] = None


class Changes(Settings):
    """What is to change: what is left out stays, null or an empty text goes back to the default."""

    endpoint: Annotated[str | None, Field(description="The whole HTTPS URL that takes the events.")] = None
    headers: Annotated[
        dict[str, str | None] | None,
        Field(description="Those that are named change, one that is null is removed; null removes all."),
    ] = None


class MadeWebhook(BaseModel):
    """A webhook that was made."""

    webhook: WebhookOut
    secret: Annotated[str | None, Field(description="The signing secret, this once; null where you gave it.")]


class Deleted(BaseModel):
    """A webhook that was deleted."""

    id: str
    cancelled: Annotated[int, Field(description="Deliveries that waited and are not sent any more.")]


class Overlap(BaseModel):
    """For how long the old signing secret signs too."""

    model_config = ConfigDict(extra="forbid")
    overlap: Annotated[
        float, Field(ge=0, le=366 * 86_400, allow_inf_nan=False, description="Seconds; 0 ends the old one at once.")
    ] = 86_400


class NewSecret(BaseModel):
    """A new signing secret, shown this once."""

    id: str
    secret: str
    old_secret_until: Moment


class Reason(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")
    reason: Annotated[
        str, Field(min_length=1, max_length=1000, description="Shown wherever the webhook is shown as paused.")
    ] = "by hand"


class HeaderOut(BaseModel):
    """A header of a request; the values of signatures, of Authorization and of extra headers are masked."""

    name: Text
    value: Text


class RequestOut(BaseModel):
    """What was sent."""

    headers: list[HeaderOut]
    payload: dict[str, Any]


class PingOut(BaseModel):
    """A ping, and what came back."""

    delivery_id: str
    event_id: str
    status: Annotated[int | None, Field(description="Null where no answer came.")]
    duration: Annotated[float, Field(description="Seconds.")]
    error: Text | None
    advice: Annotated[Text | None, Field(description="What to do where it failed.")]
    response: Annotated[Text, Field(description="The start of the answer's body.")]
    request: RequestOut
    unlogged: Annotated[Text | None, Field(description="Why it is not in the delivery log; null where it is.")]


class DeliveryOut(BaseModel):
    """A delivery."""

    id: str
    webhook: Text
    webhook_paused: bool
    topic: Text
    event_id: Text
    dag_id: Text | None
    run_id: Text | None
    task_id: Text | None
    map_index: int | None
    try_number: int | None
    state: Literal["pending", "delivered", "dead_letter", "cancelled"]
    event_at: Annotated[Moment, Field(description="When the event occurred.")]
    created_at: Annotated[Moment, Field(description="When the outbox took it.")]
    due_at: Annotated[Moment, Field(description="When the next attempt is due; null once it is not pending.")]
    delivered_at: Moment
    leased_until: Annotated[Moment, Field(description="Until when a relay holds it, which is sending it.")]
    manual: Annotated[bool, Field(description="Whether a person asked for the attempt that is due.")]
    attempts_count: int
    last_status: int | None
    last_error: Text | None


class DeliveriesOut(BaseModel):
    """A page of deliveries, newest first."""

    deliveries: list[DeliveryOut]
    cursor: Annotated[str | None, Field(description="Give it back to get the next page; null where there is none.")]


class AttemptOut(BaseModel):
    """One HTTP try of a delivery."""

    number: int
    id: str
    started_at: Moment
    duration: Annotated[float, Field(description="Seconds.")]
    status: int | None
    error: Text | None
    retry_after: Annotated[float | None, Field(description="Seconds that the endpoint asked to be left alone.")]
    response: Annotated[Text, Field(description="The start of the answer's body.")]


class DeliveryDetailOut(DeliveryOut):
    """A delivery with its payload, the headers of its latest attempt, and every attempt."""

    payload: dict[str, Any]
    request_headers: Annotated[
        list[HeaderOut],
        Field(description="Of the latest attempt, from the webhook as it is now; empty where none was made."),
    ]
    attempts: list[AttemptOut]


class Wanted(BaseModel):
    """Which deliveries to send again: `ids`, or `dead_letters` and a filter."""

    model_config = ConfigDict(extra="forbid")
    ids: Annotated[list[str] | None, Field(max_length=10_000, description="Whatever state they are in.")] = None
    dead_letters: Annotated[bool, Field(description="All dead letters that the other fields ask for.")] = False
    since: Annotated[
        str | None,
        Field(description="Taken in since then: how long ago, such as 24h or 7d, or a date. Needed for dead letters."),
    ] = None
    until: Annotated[str | None, Field(description="Taken in before then.")] = None
    webhook: str | None = None
    topic: str | None = None
    dag: str | None = None
    run: str | None = None


class Redelivered(BaseModel):
    """What is due now."""

    redelivered: int
    unknown: Annotated[list[str], Field(description="Ids that there are no deliveries of.")]
