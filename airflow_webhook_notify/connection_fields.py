"""Each field of a Connection, checked.

Invariant: a value that passes here can be used as it is; one that does not raises a `ConfigurationError` that
names the field and says what to put there, and never shows the value where it may be a credential.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from airflow_webhook_notify import connection_form as form
from airflow_webhook_notify.exceptions import ConfigurationError
from airflow_webhook_notify.models import Level, SigningSecret
from airflow_webhook_notify.signing import check_secret
from airflow_webhook_notify.topics import JOB_TOPICS, check_topics

_EXAMPLE = "https://hooks.example.com/airflow"
_MAX_URL = 8192
# RFC 9110, section 5.1: a field name is a token.
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,256}")
_RESERVED_HEADERS = frozenset(
    {
        "accept-encoding",
        "authorization",
        "connection",
        "host",
        "transfer-encoding",
        "user-agent",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
        "x-hub-signature",
        "x-hub-signature-256",
    }
)
_KNOWN_KEYS = tuple(item.key for item in form.FIELDS)


def parse_extra(extra: str | None) -> dict[str, Any]:
    """Return the Connection's extra as a mapping.

    :raises ConfigurationError: where it is no JSON object, or a key is misspelled
    """
    try:
        value = json.loads(extra) if extra and extra.strip() else {}
    except (ValueError, RecursionError):
        raise ConfigurationError("Extra", 'is not JSON; give an object such as {"timeout": 15}') from None
    if not isinstance(value, dict):
        raise ConfigurationError("Extra", 'is not a JSON object; give one such as {"timeout": 15}')
    for key in value:
        if key not in _KNOWN_KEYS:
            _check_unknown(key)
    return value


def _check_unknown(key: str) -> None:
    # Here, not above: a task process loads this module for each event, and hardly ever needs that one.
    from difflib import get_close_matches

    # A key that nobody knows may be another tool's; one that nearly is ours would be silently without effect.
    meant = get_close_matches(key, _KNOWN_KEYS, n=1, cutoff=0.8)
    if meant:
        raise ConfigurationError("Extra", f"has the unknown field {key[:80]!r}; did you mean {meant[0]!r}?")


def check_endpoint(url: str | None, *, allow_http: bool) -> str:
    """Return the endpoint's URL.

    :raises ConfigurationError: where it is not an absolute https URL without userinfo and fragment
    """

    def refuse(problem: str) -> ConfigurationError:
        return ConfigurationError(form.ENDPOINT, f"{problem}, such as {_EXAMPLE}")

    text = (url or "").strip()
    if not text:
        raise refuse("is empty; give the whole URL that takes the events")
    _whole(form.ENDPOINT, text)
    if len(text) > _MAX_URL or any(ord(char) <= 32 or ord(char) == 127 for char in text) or "\\" in text:
        raise refuse("is not a URL (it is too long, or has spaces, control characters or \\); give one")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise refuse("is not a URL; give one") from None
    if parts.scheme not in ("http", "https") or not host:
        raise refuse("is not a URL that begins with https:// and names a host; give the whole of it")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            form.ENDPOINT,
            "has a user name or password in it; put credentials into the Authorization header field instead",
        )
    if "#" in text:
        raise ConfigurationError(form.ENDPOINT, "has a fragment (#…), which no server ever sees; remove it")
    if parts.scheme == "http" and not allow_http:
        raise ConfigurationError(
            form.ENDPOINT,
            "is plain http, so that anyone on the way could read and replay the events; "
            "use https, or set allow_http to true for this webhook",
        )
    return text


def parse_secrets(newest: str | None, previous: object) -> tuple[SigningSecret, ...]:
    """Return the signing secrets, newest first.

    :param previous: what extra holds under `previous_secrets`
    :raises ConfigurationError: where there is none, or one can't be used
    """
    if not newest:
        raise ConfigurationError(
            form.SIGNING_SECRET,
            "is empty; `airflow webhooks add` makes one for a new webhook, `airflow webhooks rotate-secret` for this",
        )
    check_secret(newest)
    secrets = [SigningSecret(newest)]
    for item in parse_previous_secrets(previous):
        check_secret(item["secret"])
        secrets.append(SigningSecret(item["secret"], item["expires_at"]))
    return tuple(secrets)


def parse_previous_secrets(previous: object) -> list[dict[str, Any]]:
    """Return what extra holds under `previous_secrets`: the secret, and until when it signs, of each.

    :raises ConfigurationError: where it is anything else
    """
    if isinstance(previous, str) and previous.strip():
        # A Connection written as a URI holds every extra as text.
        try:
            previous = json.loads(previous)
        except ValueError:
            previous = [None]
    items = previous or []
    if not isinstance(items, list) or not all(
        isinstance(item, dict) and isinstance(item.get("secret"), str) and isinstance(item.get("expires_at"), int)
        for item in items
    ):
        raise ConfigurationError(
            form.PREVIOUS_SECRETS.label,
            'must be a list of {"secret": text, "expires_at": milliseconds since the epoch}, or []',
        )
    return items


def parse_authorization(value: object) -> str | None:
    """Return the Authorization header's value, None where there is none."""
    if value in (None, ""):
        return None
    label = form.AUTHORIZATION.label
    if not isinstance(value, str):
        raise ConfigurationError(label, "must be a text, such as Bearer 5f2c…")
    _check_header_value(label, value)
    return value


def parse_headers(value: object) -> tuple[tuple[str, str], ...]:
    """Return the extra headers.

    :raises ConfigurationError: for a name or value that HTTP does not allow, and for names that are ours
    """
    label = form.HEADERS.label
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except ValueError:
            value = None
        if value is None:
            raise ConfigurationError(label, 'is not JSON; give an object such as {"X-Team": "data"}')
    value = value or {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(label, 'must be an object of texts, such as {"X-Team": "data"}')
    return tuple(_check_header(name, text) for name, text in value.items())


def _check_header(name: object, value: object) -> tuple[str, str]:
    label = form.HEADERS.label
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise ConfigurationError(label, "a header name may have only letters, digits and !#$%&'*+-.^_`|~")
    if name.lower() in _RESERVED_HEADERS or name.lower().startswith("content-"):
        raise ConfigurationError(label, f"{name} is set by this package itself; remove it")
    if not isinstance(value, str):
        raise ConfigurationError(label, f"the value of {name} must be a text")
    _check_header_value(f"{label}, {name}", value)
    return name, value


def _check_header_value(label: str, value: str) -> None:
    # RFC 9110, section 5.5; a CR or LF would let whoever wrote it add headers of their own.
    if any(ord(char) < 32 or ord(char) == 127 for char in value) or value != value.strip():
        raise ConfigurationError(
            label, "has a line break, another control character, or white space at an end; remove it"
        )
    if len(value) > _MAX_URL or any(ord(char) > 255 for char in value):
        raise ConfigurationError(label, "has characters that no HTTP header can carry, or is over 8192 long")


def parse_topics(value: object) -> tuple[str, ...]:
    """Return the topics that the webhook hears of; all three where it names none."""
    return check_topics(_texts(form.TOPICS.label, value)) or JOB_TOPICS


def parse_globs(label: str, value: object) -> tuple[str, ...]:
    """Return globs of DAG ids or tags."""
    return _texts(label, value)


def _texts(label: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        text = value.strip()
        # A Connection written as a URI holds a list as JSON or as plain text with commas.
        value = _json_list(label, text) if text.startswith("[") else re.split(r"[,\n]", text)
    if value is None:
        return ()
    if not isinstance(value, Sequence) or not all(isinstance(item, str) for item in value):
        raise ConfigurationError(label, "must be a list of texts")
    return tuple(_whole(label, item.strip()) for item in value if item.strip())


def _whole(label: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigurationError(label, "has half a character in it (a lone surrogate); write it anew") from None
    return text


def _json_list(label: str, text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        raise ConfigurationError(label, "is neither a JSON list nor texts separated by commas") from None


def parse_level(value: object) -> Level:
    """Return which job executions a subscription hears of."""
    try:
        return Level(value or Level.DAG)
    except ValueError:
        names = ", ".join(level.value for level in Level)
        raise ConfigurationError(form.LEVEL.label, f"must be one of {names}") from None


def parse_timeout(label: str, value: object, *, default: float) -> float:
    """Return a number of seconds."""
    low, high = form.TIMEOUT_RANGE
    if value in (None, ""):
        return default
    try:
        seconds = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except ValueError:
        seconds = None
    if seconds is None or not low <= seconds <= high:
        raise ConfigurationError(label, f"must be a number of seconds from {low:g} to {high:g}")
    return seconds


def parse_amount(label: str, value: object, *, unit: str, limits: tuple[float, float]) -> float | None:
    """Return a number of something, None where the field is empty."""
    low, high = limits
    if value in (None, ""):
        return None
    try:
        amount = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except ValueError:
        amount = None
    if amount is None or not low <= amount <= high:
        raise ConfigurationError(label, f"must be a number of {unit} from {low:g} to {high:g}, or empty")
    return amount


def parse_flag(label: str, value: object, *, default: bool) -> bool:
    """Return a yes or no."""
    if value in (None, ""):
        return default
    if isinstance(value, bool):
        return value
    known = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
    flag = known.get(str(value).strip().lower())
    if flag is None:
        raise ConfigurationError(label, "must be true or false")
    return flag


def parse_path(label: str, value: object) -> str | None:
    """Return the path of a file, None where there is none."""
    if value in (None, ""):
        return None
    if not isinstance(value, str) or "\0" in value:
        raise ConfigurationError(label, "must be the path of a PEM file")
    return _whole(label, value)


def parse_proxy(value: object) -> str | None:
    """Return the proxy's URL, None where there is none."""
    if value in (None, ""):
        return None
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
        usable = parts is not None and parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigurationError(form.PROXY.label, "must be a URL, such as http://proxy.example.com:3128")
    return _whole(form.PROXY.label, str(value))
