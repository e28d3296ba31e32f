"""A DAG author's own data, and any other text from a task, made fit for a payload.

Invariant: whatever goes in, what comes out is JSON of bounded size and depth, and each place that was cut or
left out is marked where it stood and named in `problems`; nothing is dropped in silence and nothing raises.

What becomes of values that JSON does not know: datetime, date and time → ISO 8601 text; timedelta → seconds;
Decimal, UUID, paths → text; enum → its value; tuple and set → list. NaN, infinities, bytes, cycles and other
objects have no faithful form, so a text in their place says so.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import math
import pathlib
import uuid
from collections.abc import Callable, Mapping

from airflow_webhook_notify.payloads import MAX_TEXT

MAX_DEPTH = 16
#: Characters of a text that are looked at.
MAX_RAW_TEXT = 2**20
CUT = "… (cut)"

# `json.dumps` makes an encoder anew for each of the many small values.
_to_text = json.JSONEncoder(ensure_ascii=False).encode

Redact = Callable[[str, str | None], str]


def cap_text(text: str, limit: int = MAX_TEXT) -> tuple[str, bool]:
    """Return the text in at most `limit` bytes of UTF-8, and whether it was cut."""
    # Half an emoji has no UTF-8 form.
    raw = text.encode("utf-8", errors="replace")
    if len(raw) <= limit:
        return raw.decode(), False
    room = limit - len(CUT.encode())
    return raw[:room].decode("utf-8", errors="ignore") + CUT, True


class Sanitizer:
    """Turns one tree of values into JSON values.

    :param redact: masks a text; its second argument is the key that it stands under
    :param limit: bytes of JSON that the whole may take
    """

    def __init__(self, redact: Redact, limit: int) -> None:
        self.redact = redact
        self.limit = limit
        self.problems: list[str] = []
        self._used = 0
        self._open: set[int] = set()

    def sanitize(self, value: object, *, path: str) -> object:
        """Return the value as JSON values.

        :param path: how a person names the place, such as `data`
        """
        return self._value(value, path, None, 0)

    def _value(self, value: object, path: str, key: str | None, depth: int) -> object:
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            return self._container(value, path, key, depth)
        return self._spend(self._leaf(value, path, key))

    def _container(self, value: object, path: str, key: str | None, depth: int) -> object:
        if id(value) in self._open or depth >= MAX_DEPTH:
            why = "contains itself" if id(value) in self._open else f"is over {MAX_DEPTH} levels deep"
            return self._left_out(path, why)
        self._open.add(id(value))
        try:
            if isinstance(value, Mapping):
                return self._mapping(value, path, depth)
            return self._list(value, path, key, depth)  # type: ignore[arg-type]
        finally:
            self._open.discard(id(value))

    def _mapping(self, value: Mapping[object, object], path: str, depth: int) -> dict[str, object]:
        result: dict[str, object] = {}
        self._used += 2
        for name, item in value.items():
            named = name if isinstance(name, str | int | float | datetime.date) else type(name).__name__
            text, _ = cap_text(self.redact(str(named)[:1024], None), 256)
            self._used += len(text.encode()) + 4
            if self._is_full(path):
                break
            result[text] = self._value(item, f"{path}.{text}", text, depth + 1)
        return result

    def _list(self, value: list[object], path: str, key: str | None, depth: int) -> list[object]:
        result: list[object] = []
        self._used += 2
        for index, item in enumerate(value):
            if self._is_full(path):
                break
            result.append(self._value(item, f"{path}[{index}]", key, depth + 1))
        return result

    def _is_full(self, path: str) -> bool:
        if self._used < self.limit:
            return False
        self._problem(f"{path} is cut: all of it would take over {self.limit} bytes")
        return True

    def _leaf(self, value: object, path: str, key: str | None) -> object:
        if isinstance(value, enum.Enum):
            value = value.value
        if value is None or isinstance(value, bool | int):
            return self._number(value, path, key)
        if isinstance(value, float):
            return self._number(value, path, key) if math.isfinite(value) else self._left_out(path, f"is {value}")
        if isinstance(value, datetime.timedelta):
            return value.total_seconds()
        if isinstance(value, datetime.datetime | datetime.date | datetime.time):
            return value.isoformat()
        if isinstance(value, str | decimal.Decimal | uuid.UUID | pathlib.PurePath):
            return self._text(str(value), path, key)
        return self._left_out(path, f"has the type {type(value).__name__}, which JSON has no form for")

    def _number(self, value: float | int | bool | None, path: str, key: str | None) -> object:
        if value is None or isinstance(value, bool):
            return value
        if abs(value) >= 2**63 and isinstance(value, int):
            return self._left_out(path, "is an integer of more than 64 bits")
        # A number under a name such as `pin_secret` is as secret as a text.
        masked = self.redact(str(value), key)
        return value if masked == str(value) else masked

    def _text(self, text: str, path: str, key: str | None) -> str:
        # Masked before it is cut, or half a secret would pass; what is beyond the first MiB is cut in any case.
        capped, cut = cap_text(self.redact(text[:MAX_RAW_TEXT], key))
        if cut:
            self._problem(f"{path} is cut after {MAX_TEXT} bytes")
        return capped

    def _left_out(self, path: str, why: str) -> str:
        self._problem(f"{path} is left out: it {why}")
        return f"(left out: {why})"

    def _problem(self, text: str) -> None:
        # One is enough to find the rest; a list of a million bytes objects must not make a million lines.
        if len(self.problems) < 5:
            self.problems.append(text)

    def _spend(self, leaf: object) -> object:
        self._used += len(_to_text(leaf).encode()) + 2
        return leaf
