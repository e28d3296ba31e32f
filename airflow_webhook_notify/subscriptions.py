"""Which webhooks hear of a DAG without any callback in its file, and why.

Invariant: pure, and the order in which a webhook lists its globs never matters: what one of them excludes is
excluded, whatever another includes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from airflow_webhook_notify.models import Level, Webhook, derived_id

#: In front of a glob: what it matches is excluded.
EXCLUDE = "!"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a webhook's subscription covers a DAG.

    :param reason: why, in words for an operator
    """

    heard: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Globs:
    """The globs of one field, compared by case as Airflow compares DAG ids and tags.

    `*` stands for any text, `?` for one character, `[ab]` for one of these.
    """

    includes: tuple[str, ...]
    excludes: tuple[str, ...]

    @classmethod
    def of(cls, globs: Iterable[str]) -> Globs:
        """Return the globs of a field as it is written."""
        includes, excludes = [], []
        for glob in globs:
            if glob.startswith(EXCLUDE):
                excludes.append(glob[len(EXCLUDE) :].strip())
            else:
                includes.append(glob)
        return cls(tuple(includes), tuple(glob for glob in excludes if glob))


def judge(webhook: Webhook, dag_id: str, tags: Iterable[str] = ()) -> Verdict:
    """Return whether this webhook's subscription covers a DAG: by its id or by one of its tags.

    A webhook that only excludes hears of all the others.
    """
    dags, tag_globs, named = Globs.of(webhook.dags), Globs.of(webhook.tags), sorted(tags)
    if not _subscribes(dags, tag_globs):
        return Verdict(False, "it subscribes to nothing: DAGs and DAG tags are empty")
    excluded = _first("DAGs", dags.excludes, [dag_id]) or _first("DAG tags", tag_globs.excludes, named)
    if excluded:
        return Verdict(False, f"excluded by {excluded.replace(' matches ', ' !', 1)}")
    included = _first("DAGs", dags.includes, [dag_id]) or _first("DAG tags", tag_globs.includes, named)
    if included:
        return Verdict(True, included)
    if dags.includes or tag_globs.includes:
        return Verdict(False, "neither DAGs nor DAG tags name it")
    return Verdict(True, "nothing excludes it, and nothing else is asked for")


def _subscribes(dags: Globs, tags: Globs) -> bool:
    return any((dags.includes, dags.excludes, tags.includes, tags.excludes))


def _first(field: str, globs: tuple[str, ...], names: list[str]) -> str | None:
    for glob in globs:
        for name in names:
            if fnmatchcase(name, glob):
                return f"{field} matches {glob}" if field == "DAGs" else f"{field} matches {glob} (tag {name})"
    return None


def subscribes(webhook: Webhook) -> bool:
    """Return whether the webhook hears of anything without a callback."""
    return _subscribes(Globs.of(webhook.dags), Globs.of(webhook.tags))


def fingerprint(webhook: Webhook) -> str:
    """Return a text that differs where what the webhook subscribes to differs."""
    parts = (sorted(webhook.dags), sorted(webhook.tags), webhook.level.value, sorted(webhook.topics))
    return derived_id("subscription", *parts)


class Subscriptions:
    """Every webhook that subscribes, and which of them cover a DAG. Not thread-safe.

    :param tags: DAG id → its tags
    """

    def __init__(self, webhooks: Iterable[Webhook] = (), tags: Mapping[str, Iterable[str]] | None = None) -> None:
        self.webhooks = tuple(webhook for webhook in webhooks if subscribes(webhook))
        self._tags = dict(tags or {})
        # A look asks for the same few DAGs again and again.
        self._known: dict[str, tuple[Webhook, ...]] = {}

    def of(self, dag_id: str) -> tuple[Webhook, ...]:
        """Return the webhooks whose subscriptions cover a DAG."""
        if dag_id not in self._known:
            tags = self._tags.get(dag_id, ())
            self._known[dag_id] = tuple(item for item in self.webhooks if judge(item, dag_id, tags).heard)
        return self._known[dag_id]

    def hears_runs(self, dag_id: str) -> bool:
        """Return whether any webhook hears of the runs of a DAG."""
        return any(webhook.level is not Level.TASK for webhook in self.of(dag_id))

    def hears_tasks(self, dag_id: str) -> bool:
        """Return whether any webhook hears of the tasks of a DAG."""
        return any(webhook.level is not Level.DAG for webhook in self.of(dag_id))
