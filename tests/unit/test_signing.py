"""Signing and verifying, by value."""

from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess
import sys
from collections.abc import Iterator
from email.message import Message
from types import MappingProxyType

import pytest

from airflow_webhook_notify.exceptions import (
    ConfigurationError,
    InvalidHeaderError,
    SignatureError,
    TimestampError,
    VerificationError,
)
from airflow_webhook_notify.signing import Verified, check_secret, generate_secret, sign, verify

NOW = 1614265330
EVENT = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = MappingProxyType({"webhook-id": EVENT, "webhook-timestamp": str(NOW), "webhook-signature": SIGNATURE})

CRON_TO_GO = (
    "Very Secret Secret",
    b"Hello! This is a test payload.",
    "sha256=8ba4c47558de1872150c3ec82211c34bf0cbd6d60fc4f9875b97853af06de917",
)
GITHUB = (
    "It's a Secret to Everybody",
    b"Hello, World!",
    "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
)


def signed(body: bytes = BODY, *secrets: str, timestamp: int = NOW) -> dict[str, str]:
    return sign(body, secrets or (SECRET,), message_id=EVENT, timestamp=timestamp)


# Signing


def test_a_generated_secret_is_the_prefix_and_base64_of_24_random_bytes() -> None:
    sizes: list[int] = []

    def token(size: int) -> bytes:
        sizes.append(size)
        return bytes(range(size))

    assert generate_secret(token=token) == "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX"
    assert sizes == [24]


def test_generated_secrets_differ_and_can_be_used() -> None:
    first, second = generate_secret(), generate_secret()
    check_secret(first)
    assert first != second


@pytest.mark.parametrize(("secret", "body", "signature"), [CRON_TO_GO, GITHUB])
def test_hub_vectors(secret: str, body: bytes, signature: str) -> None:
    headers = signed(body, secret)
    assert (headers["X-Hub-Signature"], headers["X-Hub-Signature-256"]) == (signature, signature)


def test_the_standard_webhooks_vector() -> None:
    headers = signed()
    assert {name: headers[name] for name in HEADERS} == dict(HEADERS)


def test_there_are_five_headers() -> None:
    assert sorted(signed()) == [
        "X-Hub-Signature",
        "X-Hub-Signature-256",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
    ]


def test_the_hub_dialects_use_a_base64_secret_as_text_with_its_prefix() -> None:
    expected = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()
    assert signed()["X-Hub-Signature"] == f"sha256={expected}"


def test_the_standard_dialect_uses_a_text_secret_as_utf_8() -> None:
    digest = hmac.new("schlüssel".encode(), f"{EVENT}.{NOW}.".encode() + BODY, hashlib.sha256).digest()
    assert signed(BODY, "schlüssel")["webhook-signature"] == f"v1,{base64.b64encode(digest).decode()}"


def test_while_rotating_every_secret_signs_and_the_newest_comes_first() -> None:
    new, old = signed(BODY, SECRET), signed(BODY, OLD_SECRET)
    both = signed(BODY, SECRET, OLD_SECRET)
    assert both["webhook-signature"] == f"{new['webhook-signature']} {old['webhook-signature']}"
    assert both["X-Hub-Signature"] == both["X-Hub-Signature-256"] == new["X-Hub-Signature"]


@pytest.mark.parametrize("message_id", ["", "a.b", "a b", "a\r\nb", "ä", "x" * 257])
def test_an_id_that_no_receiver_could_verify_is_not_signed(message_id: str) -> None:
    with pytest.raises(ValueError, match="message_id"):
        sign(BODY, [SECRET], message_id=message_id, timestamp=NOW)


@pytest.mark.parametrize("timestamp", [-1, 10**12])
def test_a_timestamp_that_no_receiver_could_verify_is_not_signed(timestamp: int) -> None:
    with pytest.raises(ValueError, match="timestamp"):
        sign(BODY, [SECRET], message_id=EVENT, timestamp=timestamp)


# Secrets


@pytest.mark.parametrize(
    "secret",
    [
        "whsec_" + base64.b64encode(b"\xff" * 16).decode(),
        "whsec_" + base64.b64encode(b"\xff" * 256).decode(),
        "12345678",
        "with spaces inside",
        "schlüssel 🔑",
    ],
)
def test_secrets_that_can_be_used(secret: str) -> None:
    check_secret(secret)
    verify(BODY, signed(BODY, secret), secret, now=NOW)


BAD_SECRETS = {
    "": "there is none; put a text that begins with whsec_",
    " leading space": "begins or ends with white space",
    "trailing newline\n": "begins or ends with white space",
    "control\x00character": "control character",
    "control\x7fcharacter": "control character",
    "lone\ud800surrogate": "broken Unicode",
    "1234567": "fewer than 8 characters",
    "whsec_": "decodes to 0 bytes; put base64 of 24 to 64 random bytes there",
    "whsec_not base64!": "not base64",
    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS": "not base64",
    "whsec_MfKQ-r8GKYqrTwjUPD8ILPZIo2LaLa_w": "not base64",
    "whsec_ünicode0": "not base64",
    "whsec_MfKQ9r8GKYqrTwjU PD8ILPZIo2LaLaSw": "not base64",
    "whsec_" + "QUFB" * 5: "decodes to 15 bytes",
    "whsec_" + base64.b64encode(b"A" * 257).decode(): "decodes to 257 bytes",
}


@pytest.mark.parametrize(("secret", "problem"), BAD_SECRETS.items(), ids=ascii)
def test_a_secret_that_cannot_be_used_is_named_and_not_shown(secret: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_secret(secret)
    assert caught.value.field == "Signing secret"
    assert problem in caught.value.problem
    shown = secret.removeprefix("whsec_").strip()
    assert not shown or shown not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("secrets", [None, [], (), "", [None], b"bytes are no text", 7, [SECRET, "short"]])
def test_a_receiver_without_a_usable_secret_is_told_that_it_is_its_own_mistake(secrets: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^Signing secret: "):
        verify(BODY, HEADERS, secrets, now=NOW)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"^Signing secret: "):
        sign(BODY, secrets, message_id=EVENT, timestamp=NOW)  # type: ignore[arg-type]


def test_an_empty_list_of_secrets_is_told_apart() -> None:
    with pytest.raises(ConfigurationError, match="there is none; give at least one"):
        verify(BODY, HEADERS, [], now=NOW)


# Verifying


def test_verifies_the_standard_webhooks_vector() -> None:
    assert verify(BODY, HEADERS, SECRET, now=NOW) == Verified("standard-webhooks", EVENT, NOW)


@pytest.mark.parametrize(("secret", "body", "signature"), [CRON_TO_GO, GITHUB])
@pytest.mark.parametrize(("name", "dialect"), [("X-Hub-Signature", "hub"), ("X-Hub-Signature-256", "github")])
def test_verifies_the_hub_vectors(secret: str, body: bytes, signature: str, name: str, dialect: str) -> None:
    assert verify(body, {name: signature}, secret) == Verified(dialect, None, None)


def test_of_the_two_hub_headers_githubs_decides() -> None:
    secret, body, signature = GITHUB
    wrong = "sha256=" + "0" * 64
    headers = {"X-Hub-Signature": wrong, "X-Hub-Signature-256": signature}
    assert verify(body, headers, secret).dialect == "github"
    with pytest.raises(SignatureError):
        verify(body, {"X-Hub-Signature": signature, "X-Hub-Signature-256": wrong}, secret)


@pytest.mark.parametrize("secrets", [SECRET, OLD_SECRET, [SECRET, OLD_SECRET], [generate_secret(), OLD_SECRET]])
def test_during_a_rotation_a_receiver_may_hold_either_secret_or_both(secrets: str | list[str]) -> None:
    headers = signed(BODY, SECRET, OLD_SECRET)
    assert verify(BODY, headers, secrets, now=NOW).id == EVENT


@pytest.mark.parametrize("name", ["X-Hub-Signature", "X-Hub-Signature-256"])
def test_a_receiver_of_the_hub_dialects_may_hold_several_secrets(name: str) -> None:
    headers = {name: signed(BODY, SECRET)[name]}
    verify(BODY, headers, [OLD_SECRET, SECRET])
    with pytest.raises(SignatureError):
        verify(BODY, headers, [OLD_SECRET])


def test_after_the_rotation_the_old_secret_verifies_nothing() -> None:
    with pytest.raises(SignatureError):
        verify(BODY, signed(BODY, SECRET), OLD_SECRET, now=NOW)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "body"])
def test_each_signed_part_is_covered(name: str) -> None:
    headers = signed() | {"webhook-id": EVENT + "x"} if name == "webhook-id" else signed()
    if name == "webhook-timestamp":
        headers[name] = str(NOW + 1)
    with pytest.raises(SignatureError):
        verify(BODY + b" " if name == "body" else BODY, headers, SECRET, now=NOW)


@pytest.mark.parametrize("offset", [-300, -299.5, 0, 300])
def test_a_timestamp_within_the_tolerance_is_taken(offset: float) -> None:
    verify(BODY, HEADERS, SECRET, now=NOW + offset)


@pytest.mark.parametrize("offset", [-301, -300.5, 300.5, 10**9, float("nan"), float("inf")])
def test_a_timestamp_beyond_the_tolerance_is_refused(offset: float) -> None:
    with pytest.raises(TimestampError):
        verify(BODY, HEADERS, SECRET, now=NOW + offset)


def test_the_tolerance_is_the_receivers_choice() -> None:
    verify(BODY, HEADERS, SECRET, now=NOW + 3600, tolerance=3600)
    with pytest.raises(TimestampError, match="more than 2 s"):
        verify(BODY, HEADERS, SECRET, now=NOW + 3, tolerance=2)
    with pytest.raises(TimestampError):
        verify(BODY, HEADERS, SECRET, now=NOW, tolerance=float("nan"))


def test_a_forged_request_is_called_forged_even_when_it_is_old() -> None:
    with pytest.raises(SignatureError):
        verify(BODY + b" ", HEADERS, SECRET, now=NOW + 10**6)


def test_by_default_the_clock_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW + 300.0)
    verify(BODY, HEADERS, SECRET)
    monkeypatch.setattr("time.time", lambda: NOW + 301.0)
    with pytest.raises(TimestampError):
        verify(BODY, HEADERS, SECRET)
    verify(BODY, signed(timestamp=0), SECRET, now=0)


@pytest.mark.parametrize("left", [["webhook-id"], ["webhook-timestamp"], ["webhook-signature"]])
def test_a_standard_header_left_behind_rules_out_the_hub_dialects(left: list[str]) -> None:
    headers = {name: value for name, value in signed().items() if name in left or name.startswith("X-Hub")}
    with pytest.raises(InvalidHeaderError, match="is missing"):
        verify(BODY, headers, SECRET, now=NOW)


def test_a_stale_timestamp_is_not_excused_by_good_hub_signatures() -> None:
    with pytest.raises(TimestampError):
        verify(BODY, signed(), SECRET, now=NOW + 301)


def test_a_bad_standard_signature_is_not_excused_by_good_hub_signatures() -> None:
    with pytest.raises(SignatureError):
        verify(BODY, signed() | {"webhook-signature": "v1," + "A" * 43 + "="}, SECRET, now=NOW)


def test_a_receiver_can_insist_on_a_timestamp() -> None:
    stripped = {name: value for name, value in signed().items() if name.startswith("X-Hub")}
    assert verify(BODY, stripped, SECRET).timestamp is None
    with pytest.raises(InvalidHeaderError, match="webhook-id is missing"):
        verify(BODY, stripped, SECRET, require_timestamp=True)
    assert verify(BODY, signed(), SECRET, now=NOW, require_timestamp=True).timestamp == NOW


def test_a_full_stop_cannot_be_moved_between_the_signed_parts() -> None:
    body = f"{NOW}.{{}}".encode()
    digest = hmac.new(base64.b64decode(SECRET[6:]), f"a.{NOW}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(digest).decode()
    headers = {"webhook-id": "a", "webhook-timestamp": str(NOW), "webhook-signature": signature}
    verify(body, headers, SECRET, now=NOW)
    with pytest.raises(InvalidHeaderError, match="full stop"):
        verify(b"{}", headers | {"webhook-id": f"a.{NOW}"}, SECRET, now=NOW)


def test_signatures_of_other_versions_and_keys_are_skipped() -> None:
    others = "v1a,AAAA v2,BBBB v1,CCCC"
    verify(BODY, HEADERS | {"webhook-signature": f"{others} {SIGNATURE}"}, SECRET, now=NOW)
    with pytest.raises(SignatureError):
        verify(BODY, HEADERS | {"webhook-signature": others}, SECRET, now=NOW)


def test_another_spelling_of_the_signatures_base64_is_refused() -> None:
    respelled = SIGNATURE.replace("OE=", "OF=")
    assert base64.b64decode(respelled[3:]) == base64.b64decode(SIGNATURE[3:])
    with pytest.raises(SignatureError):
        verify(BODY, HEADERS | {"webhook-signature": respelled}, SECRET, now=NOW)


def test_names_of_headers_have_no_case() -> None:
    for change in (str.upper, str.title, str.lower):
        headers = {change(name): value for name, value in signed().items()}
        assert verify(BODY, headers, SECRET, now=NOW).id == EVENT


class ItemsOnly:
    def items(self) -> Iterator[tuple[str, str]]:
        return iter(HEADERS.items())


def as_message() -> Message:
    message = Message()
    for name, value in HEADERS.items():
        message[name] = value
    return message


@pytest.mark.parametrize(
    "headers",
    [HEADERS, dict(HEADERS), list(HEADERS.items()), iter(HEADERS.items()), ItemsOnly(), as_message()],
    ids=["mapping", "dict", "pairs", "iterator", "items", "http.server"],
)
def test_headers_come_in_any_usual_form(headers: dict[str, str]) -> None:
    assert verify(BODY, headers, SECRET, now=NOW).id == EVENT


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_bytes_are_a_body(kind: type) -> None:
    verify(kind(BODY), HEADERS, SECRET, now=NOW)
    verify(kind(GITHUB[1]), {"X-Hub-Signature-256": GITHUB[2]}, GITHUB[0])


def test_a_parsed_body_is_a_programming_mistake() -> None:
    with pytest.raises(TypeError, match="the bytes that arrived, not str"):
        verify(BODY.decode(), HEADERS, SECRET, now=NOW)  # type: ignore[arg-type]


def test_a_header_that_is_not_ours_may_hold_anything() -> None:
    headers = [*HEADERS.items(), ("Cookie", None), ("Cookie", "\ud800"), ("Ünrelated", b"")]
    assert verify(BODY, headers, SECRET, now=NOW).id == EVENT  # type: ignore[arg-type]


def test_errors_show_neither_secret_nor_signature_nor_what_the_request_held() -> None:
    forged = "v1," + "Z" * 43 + "="
    with pytest.raises(VerificationError) as caught:
        verify(BODY, HEADERS | {"webhook-signature": forged}, SECRET, now=NOW)
    text = f"{caught.value!r} {caught.value.__context__!r}"
    for hidden in (SECRET, SECRET[6:], SIGNATURE[3:], forged[3:], EVENT):
        assert hidden not in text


# What a receiver has to install


def test_a_receiver_that_imports_signing_gets_the_standard_library_only() -> None:
    program = (
        "import sys; before = set(sys.modules); import airflow_webhook_notify.signing;"
        "print(*{name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["airflow_webhook_notify"]
