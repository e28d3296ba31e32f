"""The error tree, by what the caller would do.

Invariant: no text in this tree carries a secret, an Authorization value, or a URL's path, query or userinfo.

    WebhookError
    ├── ConfigurationError      mend the named field or option, then try again
    ├── PayloadError            mend the data that the DAG author added
    ├── VerificationError       refuse the request (receivers)
    │   ├── InvalidHeaderError      a signature header is missing, garbled or given twice
    │   ├── TimestampError          the request is too old, or from the future
    │   └── SignatureError          no secret of ours made this signature
    ├── DeliveryError           the endpoint did not take the event; its last attempt says why
    │   └── BudgetExhaustedError    this process has spent its time for webhooks
    └── OutboxUnavailableError  deliver directly, or try again later
        └── OutboxMissingError      run `airflow db migrate`
"""

from __future__ import annotations


class WebhookError(Exception):
    """Any error that this package raises on purpose."""


class ConfigurationError(WebhookError, ValueError):
    """A field of a webhook, or an option, can't be used.

    :param field: the field or option, in the words that its form or file shows
    :param problem: what is wrong with it and what to put there instead
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class PayloadError(WebhookError, ValueError):
    """Data can't be written as JSON; the text names the place in it."""


class VerificationError(WebhookError):
    """A request is not proven to come from the sender, so it must be refused."""


class InvalidHeaderError(VerificationError):
    """A header that verification needs is missing, garbled or given twice."""


class TimestampError(VerificationError):
    """The signed timestamp lies outside the tolerance."""


class SignatureError(VerificationError):
    """No signature in the request was made with any of the given secrets."""


class DeliveryError(WebhookError):
    """An event was not taken by the endpoint within its deadline."""


class BudgetExhaustedError(DeliveryError):
    """This process has no time left that it may spend on webhooks."""


class OutboxUnavailableError(WebhookError):
    """The metadata database can't be used for the outbox now: unreachable, locked, full, or not this process's."""


class OutboxMissingError(OutboxUnavailableError):
    """The outbox's tables were never made, or are older than this package."""
