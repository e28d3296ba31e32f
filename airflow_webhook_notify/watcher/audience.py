"""Who hears of what: the webhooks that subscribe, read again every few seconds, and since when each does.

Invariant: a webhook hears of nothing that happened before it subscribed, but for the few seconds in which nobody had
looked whether it does, whichever watcher noticed that it does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from airflow_webhook_notify.connection import ListedWebhook
from airflow_webhook_notify.models import Level, Webhook
from airflow_webhook_notify.observed import Occurrence
from airflow_webhook_notify.outbox.watch import Subscription
from airflow_webhook_notify.subscriptions import Subscriptions, fingerprint, subscribes

log = logging.getLogger(__name__)

#: How far back at most a webhook hears of what happened before it was noticed that it subscribes. Milliseconds.
_REACH = 10_000


class Audience:
    """The webhooks that the watcher works for. Not thread-safe.

    :param kept: the subscriptions as the database has them
    """

    def __init__(self, kept: Mapping[str, Subscription]) -> None:
        self._kept = dict(kept)
        self._webhooks: dict[str, Webhook] = {}
        self._changed: dict[str, Subscription] = {}
        self._ended: set[str] = set()
        self._refused: dict[str, str] = {}
        self._refreshed_at: int | None = None
        self.subscriptions = Subscriptions()

    def refresh(
        self, listed: Iterable[ListedWebhook], tags: Mapping[str, Sequence[str]], *, now: int, looked_at: int
    ) -> None:
        """Take the webhooks as they are now.

        :param now: milliseconds since the epoch
        :param looked_at: of the last look, by the filters of which all that happened before was judged
        """
        listed = list(listed)
        usable = {item.id: item.webhook for item in listed if item.webhook is not None}
        self._say_refused({item.id: item.problem for item in listed if item.problem is not None})
        self._webhooks = {name: webhook for name, webhook in usable.items() if concerns_watcher(webhook)}
        for name, webhook in self._webhooks.items():
            self._note(name, fingerprint(webhook), now=now, looked_at=looked_at)
        # One that can't be used just now is not gone: its Connection is being mended.
        for name in [name for name in self._kept if name not in self._webhooks and name not in self._refused]:
            del self._kept[name]
            self._changed.pop(name, None)
            self._ended.add(name)
        self.subscriptions = Subscriptions(self._webhooks.values(), tags)
        self._refreshed_at = now

    def _note(self, name: str, print_: str, *, now: int, looked_at: int) -> None:
        known, read_at = self._kept.get(name), self._refreshed_at
        if known is None:
            # It was made after the webhooks were last read, and what happens right after that is not the past.
            since = now if read_at is None else max(read_at, now - _REACH)
            self.put(Subscription(name, print_, since=since, pinged_at=now))
        elif known.fingerprint != print_:
            since = max(known.since, looked_at if read_at is None else read_at, now - _REACH)
            self.put(replace(known, fingerprint=print_, since=since))

    def _say_refused(self, problems: Mapping[str, str]) -> None:
        for name, problem in problems.items():
            if self._refused.get(name) != problem:
                log.warning("webhook %s: hears of nothing meanwhile: %s", name, problem)
        self._refused = dict(problems)

    def put(self, subscription: Subscription) -> None:
        """Change a subscription; the next hand-over writes it."""
        self._kept[subscription.webhook_id] = self._changed[subscription.webhook_id] = subscription
        self._ended.discard(subscription.webhook_id)

    def subscription(self, webhook_id: str) -> Subscription:
        """Return the subscription of a webhook that is listed."""
        return self._kept[webhook_id]

    @property
    def webhooks(self) -> Sequence[Webhook]:
        """All of them, those that only want a heartbeat too."""
        return tuple(self._webhooks.values())

    @property
    def changed(self) -> Sequence[Subscription]:
        """What the next hand-over has to write."""
        return tuple(self._changed.values())

    @property
    def ended(self) -> Sequence[str]:
        """What the next hand-over has to delete."""
        return tuple(self._ended)

    def written(self) -> None:
        """Forget what the hand-over has written."""
        self._changed.clear()
        self._ended.clear()

    def hearing(self, occurrence: Occurrence) -> list[Webhook]:
        """Return the webhooks that are to hear of an occurrence."""
        return [webhook for webhook in self.subscriptions.of(occurrence.run.dag_id) if self._hears(webhook, occurrence)]

    def _hears(self, webhook: Webhook, occurrence: Occurrence) -> bool:
        return (
            webhook.level in (occurrence.level, Level.BOTH)
            and occurrence.topic in webhook.topics
            and (webhook.retries or not occurrence.will_retry)
            and occurrence.at >= self._kept[webhook.id].since
        )


def concerns_watcher(webhook: Webhook) -> bool:
    """Return whether the watcher has anything to do for a webhook."""
    return subscribes(webhook) or webhook.heartbeat is not None


#: Reads every webhook that there is.
Listing = Callable[[], Sequence[ListedWebhook]]
