"""Signing secrets, and the signatures made and verified with them, in three dialects.

Invariant: standard library only, so a receiver can use :func:`verify` alone; whatever a request's headers
hold, `verify` returns or raises a `VerificationError`; and no error text carries a secret, a signature or a
header's value.

The dialects: Standard Webhooks 1.0 (`webhook-id`, `webhook-timestamp`, `webhook-signature`), GitHub's
(`X-Hub-Signature-256`), and that of WebSub and Cron To Go (`X-Hub-Signature`). Only the first signs a time.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import time
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from secrets import token_bytes
from typing import Any, NamedTuple, Protocol

from airflow_webhook_notify.exceptions import (
    ConfigurationError,
    InvalidHeaderError,
    SignatureError,
    TimestampError,
)

#: What marks a secret as base64 of key bytes (Standard Webhooks 1.0, "Signature scheme").
SECRET_PREFIX = "whsec_"
ID_HEADER = "webhook-id"
TIMESTAMP_HEADER = "webhook-timestamp"
SIGNATURE_HEADER = "webhook-signature"
GITHUB_HEADER = "X-Hub-Signature-256"
HUB_HEADER = "X-Hub-Signature"

STANDARD_WEBHOOKS = "standard-webhooks"
GITHUB = "github"
HUB = "hub"

_FIELD = "Signing secret"
_SECRET_BYTES = 24
# The specification says 24 to 64; a secret that another product made is not refused for being near that.
_MIN_KEY, _MAX_KEY = 16, 256
_MIN_TEXT = 8
# Bounds on the work that a hostile request can cause.
_MAX_HEADER = 16 * 1024
_MAX_SIGNATURES = 64

_STANDARD_HEADERS = (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)
_HEADERS = {name.lower(): name for name in (*_STANDARD_HEADERS, GITHUB_HEADER, HUB_HEADER)}
# No full stop: it separates the signed parts, so with one in an id two requests could have one signature.
_ID = re.compile(r"[!-\-/-~]{1,256}", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_HUB_SIGNATURE = re.compile(r"sha256=[0-9a-f]{64}", re.ASCII)


class HasItems(Protocol):
    """A mapping, or any other holder of headers whose `items()` gives names and values."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Return the pairs of name and value."""


class Verified(NamedTuple):
    """What a genuine request has proven.

    :param dialect: `standard-webhooks`, `github` or `hub`
    :param id: the event's id, the same in every attempt; None where the dialect does not sign it
    :param timestamp: when the attempt was made, in seconds since the epoch; None like the id
    """

    dialect: str
    id: str | None
    timestamp: int | None


def generate_secret(*, token: Callable[[int], bytes] = token_bytes) -> str:
    """Return a new signing secret: `whsec_` and the base64 of 24 random bytes.

    :param token: returns that many random bytes
    """
    return SECRET_PREFIX + base64.b64encode(token(_SECRET_BYTES)).decode("ascii")


def check_secret(value: str) -> None:
    """Check that a text can serve as a signing secret.

    :raises ConfigurationError: where it can't; the text says why and never holds the value
    """
    _key_of(value)


def sign(body: bytes, secrets: Sequence[str], *, message_id: str, timestamp: int) -> dict[str, str]:
    """Return the five signature headers of a request, in all three dialects.

    :param body: the bytes that are sent
    :param secrets: newest first; the hub headers, which hold one signature, are made with the newest
    :param message_id: the event's id: visible ASCII without a full stop, at most 256 characters
    :param timestamp: when the attempt is made, in seconds since the epoch
    :raises ConfigurationError: where there is no secret, or one that can't be used
    :raises ValueError: for an id or timestamp that no receiver could verify
    """
    texts = _checked(secrets)
    if not _ID.fullmatch(message_id):
        raise ValueError("message_id must be 1 to 256 visible ASCII characters without a full stop")
    if not _TIMESTAMP.fullmatch(str(timestamp)):
        raise ValueError("timestamp must be whole seconds since the epoch")
    signed = _signed_content(message_id, str(timestamp), body)
    hub = _hub_signature(texts[0], body)
    return {
        HUB_HEADER: hub,
        GITHUB_HEADER: hub,
        ID_HEADER: message_id,
        TIMESTAMP_HEADER: str(timestamp),
        SIGNATURE_HEADER: " ".join(_standard_signature(text, signed) for text in texts),
    }


def verify(
    body: bytes,
    headers: HasItems | Iterable[tuple[str, str]],
    secrets: str | Sequence[str],
    *,
    now: float | None = None,
    tolerance: float = 300.0,
    require_timestamp: bool = False,
) -> Verified:
    """Return what the request has proven, or raise.

    A request with any `webhook-*` header must pass as Standard Webhooks: there is no falling back to a
    dialect that signs no timestamp. But who has caught a genuine request can also remove those headers and
    replay it for ever; only `require_timestamp` refuses that. Set it wherever the sender signs in the
    Standard Webhooks dialect, as this package always does.

    :param body: the bytes that arrived, before any parsing
    :param headers: a mapping, any object with `items()`, or pairs; the case of names does not matter
    :param secrets: the secret, or all that are valid while one is being rotated
    :param now: seconds since the epoch; by default the clock's
    :param tolerance: the most seconds that the signed timestamp may lie before or after `now`
    :param require_timestamp: refuse a request in the hub dialects, which can be replayed at any time
    :raises VerificationError: the request must be refused; the subclasses say why
    :raises ConfigurationError: `secrets` holds none, or one that can't be used
    :raises TypeError: `body` is not bytes
    """
    if not isinstance(body, (bytes, bytearray, memoryview)):
        raise TypeError(f"body must be the bytes that arrived, not {type(body).__name__}")
    texts = _checked(secrets)
    found = _signature_headers(headers)
    if require_timestamp or any(name in found for name in _STANDARD_HEADERS):
        return _verify_standard(body, found, texts, time.time() if now is None else now, tolerance)
    for name, dialect in ((GITHUB_HEADER, GITHUB), (HUB_HEADER, HUB)):
        if name in found:
            _verify_hub(body, name, found[name], texts)
            return Verified(dialect, None, None)
    raise InvalidHeaderError("the request has no signature header")


def _key_of(secret: object) -> bytes:
    """Return the key of the Standard Webhooks dialect; the hub dialects use the text itself."""
    if secret is None or secret == "":
        raise ConfigurationError(_FIELD, f"there is none; put a text that begins with {SECRET_PREFIX} there")
    if not isinstance(secret, str):
        raise ConfigurationError(_FIELD, "it is not text; put a text or a list of texts there")
    if secret != secret.strip():
        raise ConfigurationError(_FIELD, "it begins or ends with white space; remove that")
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in secret):
        raise ConfigurationError(_FIELD, "it holds a control character or broken Unicode; put plain text there")
    if secret.startswith(SECRET_PREFIX):
        return _decode_key(secret[len(SECRET_PREFIX) :])
    if len(secret) < _MIN_TEXT:
        raise ConfigurationError(_FIELD, f"it has fewer than {_MIN_TEXT} characters; put a longer, random text there")
    return secret.encode()


def _decode_key(text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except ValueError:
        # From None: the cause's text may quote the secret.
        raise ConfigurationError(
            _FIELD,
            f"what follows {SECRET_PREFIX} is not base64; copy the whole secret, or put a text that does not "
            f"begin with {SECRET_PREFIX} there",
        ) from None
    if not _MIN_KEY <= len(key) <= _MAX_KEY:
        raise ConfigurationError(
            _FIELD,
            f"what follows {SECRET_PREFIX} decodes to {len(key)} bytes; put base64 of 24 to 64 random bytes "
            f"there (the Standard Webhooks range; {_MIN_KEY} to {_MAX_KEY} are accepted)",
        )
    return key


def _checked(secrets: object) -> list[str]:
    """Return the secrets as a list; whatever else a receiver may pass by mistake is a ConfigurationError."""
    # None is what an environment variable that is not set gives.
    given = [secrets] if isinstance(secrets, str) or secrets is None else secrets
    if not isinstance(given, Iterable):
        raise ConfigurationError(_FIELD, "it is not text; put a text or a list of texts there")
    texts = list(given)
    if not texts:
        raise ConfigurationError(_FIELD, "there is none; give at least one")
    for text in texts:
        check_secret(text)
    return texts


def _signed_content(message_id: str, timestamp: str, body: bytes) -> bytes:
    return b"%s.%s.%s" % (message_id.encode("ascii"), timestamp.encode("ascii"), body)


def _standard_signature(secret: str, signed: bytes) -> str:
    digest = hmac.new(_key_of(secret), signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode("ascii")


def _hub_signature(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _signature_headers(headers: HasItems | Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers of the three dialects, by the names that this module gives them."""
    found: dict[str, str] = {}
    for name, value in _pairs(headers):
        # Only ASCII may match: the Kelvin sign's lower case is a `k`, but no server takes it for one.
        known = _HEADERS.get(name.lower()) if name.isascii() else None
        if known is None:
            continue
        if known in found:
            raise InvalidHeaderError(f"the header {known} is there twice")
        if not isinstance(value, str):
            raise InvalidHeaderError(f"the header {known} is not text")
        if len(value) > _MAX_HEADER:
            raise InvalidHeaderError(f"the header {known} is longer than {_MAX_HEADER} characters")
        found[known] = value
    return found


def _pairs(headers: Any) -> list[tuple[str, Any]]:
    items = getattr(headers, "items", None)
    try:
        pairs = [(name, value) for name, value in (headers if items is None else items())]
    except (TypeError, ValueError):
        raise InvalidHeaderError("the headers are neither a mapping nor pairs of name and value") from None
    if not all(isinstance(name, str) for name, _ in pairs):
        raise InvalidHeaderError("a header's name is not text; decode names and values as Latin-1 first")
    return pairs


def _verify_standard(body: bytes, found: dict[str, str], secrets: list[str], now: float, tolerance: float) -> Verified:
    for name in _STANDARD_HEADERS:
        if name not in found:
            raise InvalidHeaderError(f"the header {name} is missing")
    message_id, timestamp = found[ID_HEADER], found[TIMESTAMP_HEADER]
    if not _ID.fullmatch(message_id):
        raise InvalidHeaderError(f"the header {ID_HEADER} is not visible ASCII without a full stop")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise InvalidHeaderError(f"the header {TIMESTAMP_HEADER} is not whole seconds since the epoch")
    signatures = _standard_signatures(found[SIGNATURE_HEADER])
    signed = _signed_content(message_id, timestamp, body)
    _require_match([_standard_signature(secret, signed) for secret in secrets], signatures)
    # After the signature, so a TimestampError means a genuine request that is replayed, or a clock that is
    # wrong; and written so that a clock or a tolerance that is not a number refuses.
    if not abs(now - int(timestamp)) <= tolerance:
        raise TimestampError(
            f"the request was signed more than {tolerance:g} s before or after this machine's clock; "
            "where requests that are not replayed fail so, set the clock"
        )
    return Verified(STANDARD_WEBHOOKS, message_id, int(timestamp))


def _standard_signatures(value: str) -> list[str]:
    """Return the `v1` signatures; other versions, such as the asymmetric `v1a`, are skipped.

    Source: Standard Webhooks 1.0, "Webhook headers".
    """
    parts = value.split(" ")
    if len(parts) > _MAX_SIGNATURES:
        raise InvalidHeaderError(f"the header {SIGNATURE_HEADER} has more than {_MAX_SIGNATURES} signatures")
    signatures = [part for part in parts if part.startswith("v1,")]
    if not signatures:
        raise InvalidHeaderError(f"the header {SIGNATURE_HEADER} has no v1 signature")
    if not value.isascii():
        raise InvalidHeaderError(f"the header {SIGNATURE_HEADER} is not ASCII")
    return signatures


def _verify_hub(body: bytes, name: str, value: str, secrets: list[str]) -> None:
    if not _HUB_SIGNATURE.fullmatch(value):
        raise InvalidHeaderError(f"the header {name} is not `sha256=` and 64 lower-case hexadecimal digits")
    _require_match([_hub_signature(secret, body) for secret in secrets], [value])


def _require_match(expected: list[str], signatures: list[str]) -> None:
    """Compare all with all, as text: base64 has several spellings of the same bytes, and only one was sent.

    No early exit, so the time taken does not tell which secret or signature it was.
    """
    matched = False
    for ours in expected:
        for theirs in signatures:
            matched |= hmac.compare_digest(ours.encode("ascii"), theirs.encode("ascii"))
    if not matched:
        raise SignatureError("no signature in the request was made with a signing secret given here")
