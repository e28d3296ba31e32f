"""Whatever arrives, `verify` returns or refuses, and what was changed is refused.

Hypothesis draws the same examples in every run, so a failure is never a matter of luck.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_webhook_notify.exceptions import VerificationError
from airflow_webhook_notify.signing import generate_secret, sign, verify

NOW = 1614265330
EVENT = "0b9f7a5e-6a43-5c5e-8d5f-3f1f6b7c2d10"
NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature", "X-Hub-Signature", "X-Hub-Signature-256")

same_every_run = settings(derandomize=True, deadline=None, database=None, max_examples=300)

bodies = st.binary(max_size=2000)
# All of Unicode: lone surrogates, NUL and digits of every script too.
anything = st.text(st.characters(), max_size=60)
garbled = st.one_of(
    anything,
    st.from_regex(r"(v1a?,[A-Za-z0-9+/=]{0,50} ?){1,4}"),
    st.from_regex(r"sha256=[0-9a-fA-F]{60,68}"),
    st.from_regex(r"[-+]?[\d_.eE]{1,20}"),
    st.integers(min_value=-(10**30), max_value=10**30).map(str),
    st.sampled_from(["", "NaN", "inf", "x" * 20_000, "v1," * 3000, str(NOW), EVENT]),
)
not_text = st.one_of(st.none(), st.integers(), st.binary(max_size=8), st.lists(anything, max_size=2))
names = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES).map(str.upper), anything)
pairs = st.lists(st.tuples(st.one_of(names, not_text), st.one_of(garbled, not_text)), max_size=8)
text_secrets = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=8, max_size=40).filter(
    lambda text: text == text.strip() and not text.startswith("whsec_")
)
key_secrets = st.binary(min_size=24, max_size=24).map(lambda key: generate_secret(token=lambda _: key))
secrets = st.one_of(text_secrets, key_secrets)


@same_every_run
@given(body=bodies, headers=pairs, secret=secrets)
def test_arbitrary_headers_are_refused(body: bytes, headers: list[tuple[str, str]], secret: str) -> None:
    with pytest.raises(VerificationError):
        verify(body, headers, secret, now=NOW)


@same_every_run
@given(body=bodies, secret=secrets, name=st.sampled_from(NAMES), value=st.one_of(garbled, not_text))
def test_one_arbitrary_header_in_a_genuine_request_is_refused_or_decides_nothing(
    body: bytes, secret: str, name: str, value: object
) -> None:
    headers: dict[str, Any] = sign(body, [secret], message_id=EVENT, timestamp=NOW)
    genuine = headers[name]
    headers[name] = value
    if name.startswith("webhook-") and value != genuine:
        with pytest.raises(VerificationError):
            verify(body, headers, secret, now=NOW)
    elif isinstance(value, str) and len(value) <= 16 * 1024:
        # Beside the Standard Webhooks headers the hub headers decide nothing.
        assert verify(body, headers, secret, now=NOW).dialect == "standard-webhooks"
    else:
        with pytest.raises(VerificationError):
            verify(body, headers, secret, now=NOW)


@same_every_run
@given(headers=st.one_of(not_text, anything, st.dictionaries(names, not_text), st.lists(anything)))
def test_what_is_no_headers_at_all_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(VerificationError):
        verify(b"{}", headers, "Very Secret Secret", now=NOW)


@same_every_run
@given(
    body=bodies,
    signing=st.lists(secrets, min_size=1, max_size=4),
    event=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    timestamp=st.integers(min_value=0, max_value=10**12 - 1),
    data=st.data(),
)
def test_what_is_signed_is_verified_with_any_of_its_secrets(
    body: bytes, signing: list[str], event: str, timestamp: int, data: st.DataObject
) -> None:
    headers = sign(body, signing, message_id=event, timestamp=timestamp)
    held = data.draw(st.sampled_from(signing))
    verified = verify(body, headers, held, now=timestamp, require_timestamp=True)
    assert (verified.dialect, verified.id, verified.timestamp) == ("standard-webhooks", event, timestamp)
    for name, dialect in (("X-Hub-Signature-256", "github"), ("X-Hub-Signature", "hub")):
        assert verify(body, {name: headers[name]}, signing).dialect == dialect


@same_every_run
@given(body=st.binary(min_size=1, max_size=500), secret=secrets, data=st.data())
def test_a_body_with_one_bit_changed_is_refused(body: bytes, secret: str, data: st.DataObject) -> None:
    headers = sign(body, [secret], message_id=EVENT, timestamp=NOW)
    position = data.draw(st.integers(0, len(body) - 1))
    bit = data.draw(st.integers(0, 7))
    other = bytearray(body)
    other[position] ^= 1 << bit
    for kept in (NAMES[:3], NAMES[3:4], NAMES[4:]):
        with pytest.raises(VerificationError):
            verify(bytes(other), {name: headers[name] for name in kept}, secret, now=NOW)


@pytest.mark.parametrize("name", NAMES)
def test_a_header_with_any_one_bit_changed_is_refused(name: str) -> None:
    body, secret = b'{"Topic":"webhook.ping"}', generate_secret(token=lambda size: b"k" * size)
    kept = NAMES[:3] if name.startswith("webhook-") else (name,)
    headers = {kept_name: sign(body, [secret], message_id=EVENT, timestamp=NOW)[kept_name] for kept_name in kept}
    verify(body, headers, secret, now=NOW)
    value = headers[name]
    for position in range(len(value)):
        for bit in range(8):
            changed = value[:position] + chr(ord(value[position]) ^ (1 << bit)) + value[position + 1 :]
            with pytest.raises(VerificationError):
                verify(body, headers | {name: changed}, secret, now=NOW)


@same_every_run
@given(body=bodies, mine=secrets, theirs=secrets)
def test_another_secret_verifies_nothing(body: bytes, mine: str, theirs: str) -> None:
    headers = sign(body, [theirs], message_id=EVENT, timestamp=NOW)
    for kept in (NAMES[:3], NAMES[3:4], NAMES[4:]):
        request = {name: headers[name] for name in kept}
        if mine == theirs:
            verify(body, request, mine, now=NOW)
        else:
            with pytest.raises(VerificationError):
                verify(body, request, mine, now=NOW)
