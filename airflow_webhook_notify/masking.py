"""What of a Connection is a credential, told to Airflow's secrets maskers.

Invariant: however many Connections are told of at once, each masker builds its pattern once; one that is told of them
one by one builds it anew each time, which takes minutes for some hundreds.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

from airflow_webhook_notify import connection_form as form
from airflow_webhook_notify.signing import SECRET_PREFIX

#: Shorter paths than this are common words; masking them would blacken logs and protect nothing.
_SHORTEST_MASKED_PATH = 12
#: Nor are shorter credentials; a signing secret that short is refused.
_SHORTEST_MASKED = 8
_lock = threading.Lock()


class Credentials(Protocol):
    """The part of a Connection that may hold credentials."""

    @property
    def host(self) -> str | None: ...
    @property
    def password(self) -> str | None: ...
    @property
    def extra(self) -> str | None: ...


def mask_connections(connections: Iterable[Credentials]) -> None:
    """Tell Airflow's maskers of the credentials of Connections."""
    known = list(connections)
    credentials = [text for conn in known for text in _credentials_of(conn)]
    # Airflow's core asks for this form too, whenever it reads a Connection from the database.
    quoted = [quote(conn.password) for conn in known if conn.password]
    mask([*credentials, *quoted], headers=[text for conn in known for text in _header_values(conn)])


def mask(credentials: Iterable[str], *, headers: Iterable[str] = ()) -> None:
    """Tell Airflow's maskers of credentials and of the values of extra headers."""
    from airflow._shared.secrets_masker import _secrets_masker as core
    from airflow.sdk._shared.secrets_masker import _secrets_masker as sdk
    from airflow.sdk.log import mask_secret

    in_core, in_sdk = list(credentials), [*credentials, *headers]
    # Not the headers: the API server would show them as ***, and the connection page would save them so, since
    # Airflow puts back what it masked by a key's name and not what it masked by value.
    _add(core(), in_core)
    _add(sdk(), in_sdk)
    # One call for all: in a task each is a round trip to its supervisor.
    mask_secret([*in_sdk])


def _add(masker: Any, texts: Iterable[str]) -> None:
    """Add texts to a masker as its `add_mask` does, but for building its pattern once."""
    try:
        with _lock:
            found = {re.escape(part) for text in texts for part in masker._adaptations(text) if _counts(masker, part)}
            if found - masker.patterns:
                masker.patterns.update(found)
                # The longest first: of two patterns that fit, the first is taken, and the end of the other is left.
                masker.replacer = re.compile("|".join(sorted(masker.patterns, key=len, reverse=True)))
    except (AttributeError, TypeError):
        # Another Airflow's masker: its own way, which is slow and no more.
        masker.add_mask(list(texts))


def _counts(masker: Any, text: str) -> bool:
    return len(text) >= max(_SHORTEST_MASKED, int(masker.min_length_to_mask))


def _credentials_of(conn: Credentials) -> list[str]:
    extra = _extra_mapping(conn)
    found = [conn.password, conn.host, _path_of(conn.host or "")]
    found.extend([conn.extra] if extra is None else _credentials_in(extra))
    # Airflow's masker takes the first of its patterns that fits, so one that others begin with would leave their
    # ends in the open: `whsec_` alone is not given to it, and what follows `whsec_` is, by itself.
    found.extend(text.removeprefix(SECRET_PREFIX) for text in found[:] if text and text.startswith(SECRET_PREFIX))
    return [text for text in found if text and len(text) >= _SHORTEST_MASKED]


def _header_values(conn: Credentials) -> list[str]:
    headers = (_extra_mapping(conn) or {}).get("headers")
    values = headers.values() if isinstance(headers, Mapping) else []
    return [value for value in values if isinstance(value, str) and len(value) >= _SHORTEST_MASKED_PATH]


def _extra_mapping(conn: Credentials) -> Mapping[str, Any] | None:
    if not conn.extra:
        return {}
    extra = _json_or_none(conn.extra)
    return extra if isinstance(extra, Mapping) or extra is None else {}


def _json_or_none(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _credentials_in(extra: Mapping[str, Any]) -> Iterator[str]:
    for key in ("authorization", "proxy"):
        if isinstance(value := extra.get(key), str) and value:
            yield value
            # `Bearer abc`: the credential is as secret without its scheme.
            yield value.partition(" ")[2].strip()
    previous = extra.get(form.PREVIOUS_SECRETS.key)
    if isinstance(previous, str):
        # A Connection written as a URI holds every extra as text.
        previous = _json_or_none(previous)
    for item in previous if isinstance(previous, list) else []:
        if isinstance(item, Mapping) and isinstance(secret := item.get("secret"), str):
            yield secret


def _path_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    path = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return path if len(path) >= _SHORTEST_MASKED_PATH else ""
