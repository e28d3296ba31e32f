"""Templates into HTML, with what they need to show a value.

Invariant: every value is escaped; what is missing is an error and no empty place; and of a text that others wrote, no
character is left that shows nothing or turns round its neighbours.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from airflow_webhook_notify import connection_form
from airflow_webhook_notify.api import charts
from airflow_webhook_notify.moments import show_moment, write_moment
from airflow_webhook_notify.outbox.records import DeliveryRecord
from airflow_webhook_notify.topics import JOB_TOPICS

_TEMPLATES = Path(__file__).parent / "templates"
#: Control characters but line feed and tab, what turns text round, what has no width, and halves of characters. Those
#: that join emoji and letters stay.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
#: The README's, so that what a person copies from here is what is tested there.
SNIPPET = """\
import json
import os

from airflow_webhook_notify.signing import verify


def read_event(body: bytes, headers):
    verify(body, headers, os.environ["WEBHOOK_SECRET"], require_timestamp=True)
    return json.loads(body)
"""


def visible(value: object) -> str:
    """Return the text with each character that nobody could see written as its escape."""
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", str(value))


def pretty_json(value: object) -> str:
    """Return a JSON value as a person reads it; copied, it is still the same value."""
    return visible(json.dumps(value, indent=2, ensure_ascii=False))


def job_of(record: DeliveryRecord) -> str:
    """Return the DAG and task that a delivery is about; empty for a ping."""
    job = ".".join(part for part in (record.dag_id, record.task_id) if part)
    mapped = record.task_id and record.map_index is not None and record.map_index >= 0
    return f"{job} [{record.map_index}]" if mapped else job


def _percent(share: float) -> str:
    # Rounded down: one failure in a thousand must not read as none.
    thousandths = int(share * 1000 + 1e-9)
    return "100 %" if thousandths == 1000 else f"{thousandths / 10:.1f} %"


def _topic_word(topic: str) -> str:
    return topic.rpartition(".")[2]


def _host(origin: str) -> str:
    return origin.removeprefix("https://")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        visible=visible,
        job=job_of,
        percent=_percent,
        topic_word=_topic_word,
        host=_host,
        iso=write_moment,
        utc=show_moment,
        bars=charts.bars,
        outline=charts.outline,
        chart_words=charts.in_words,
    )
    environment.globals.update(
        fields={field.key: field for field in connection_form.FIELDS}, job_topics=JOB_TOPICS, snippet=SNIPPET
    )
    return environment


def render(name: str, values: Mapping[str, object]) -> str:
    """Return the HTML of a template.

    :raises jinja2.UndefinedError: where the template names a value that is not given
    """
    return _environment().get_template(name).render(values)
