"""A trigger, in a module that the triggerer finds: it imports no DAG file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

GO = Path(os.environ["AIRFLOW_HOME"]) / "deferred.go"


class FailingTrigger(BaseTrigger):
    """Fails once a test wants it to."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return how the triggerer makes it."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and fail."""
        while not GO.exists():  # noqa: ASYNC110 - the file is another process's
            await asyncio.sleep(0.1)
        if self.task_instance is not None:
            raise RuntimeError("the trigger failed")
        yield TriggerEvent(None)  # type: ignore[no-untyped-call]
