"""The JSON Schema of the payload, for receivers and for tests.

Invariant: one file holds the schema, and every payload that is sent is valid by it.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def payload_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a payload.

    It allows no key that it does not name, except in `Data.Custom`. So use it to learn and to test; a receiver
    in production should pass over keys that it does not know, since a later version may add some.
    """
    text = files("airflow_webhook_notify").joinpath("payload.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
