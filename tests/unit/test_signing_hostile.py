"""Headers that no sender of ours makes are refused as invalid, whatever their kind."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from airflow_webhook_notify.exceptions import InvalidHeaderError
from airflow_webhook_notify.signing import sign, verify

NOW = 1614265330
EVENT = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b"{}"
SIGNED = sign(BODY, [SECRET], message_id=EVENT, timestamp=NOW)
SIGNATURE = SIGNED["webhook-signature"]
HUB_SIGNATURE = SIGNED["X-Hub-Signature"]
HEADERS = MappingProxyType({name: value for name, value in SIGNED.items() if name.startswith("webhook-")})


def changed(name: str, value: object) -> dict[str, object]:
    return {**HEADERS, name: value}


HOSTILE: dict[str, object] = {
    "none": {},
    "unrelated": {"Content-Type": "application/json"},
    "not a mapping": None,
    "a number": 7,
    "text": "webhook-id: 1",
    "not pairs": ["webhook-id", ("a", "b", "c")],
    "bytes names": [(name.encode(), value) for name, value in HEADERS.items()],
    "a name that is None": [*HEADERS.items(), (None, "x")],
    "a name that is a number": [*HEADERS.items(), (7, "x")],
    "bytes value": changed("webhook-id", EVENT.encode()),
    "None value": changed("webhook-signature", None),
    "int value": changed("webhook-timestamp", NOW),
    "list value": changed("webhook-id", [EVENT]),
    "twice": [*HEADERS.items(), ("webhook-id", EVENT)],
    "twice in another case": {**HEADERS, "Webhook-ID": EVENT},
    "hub header twice": [("X-Hub-Signature", HUB_SIGNATURE), ("x-hub-signature", HUB_SIGNATURE)],
    "Kelvin sign": {name.replace("k", "\u212a"): value for name, value in HEADERS.items()},
    "empty id": changed("webhook-id", ""),
    "NUL in the id": changed("webhook-id", EVENT + "\0"),
    "id beyond ASCII": changed("webhook-id", "é"),
    "surrogate in the id": changed("webhook-id", "\ud800"),
    "long id": changed("webhook-id", "x" * 257),
    "newline after the id": changed("webhook-id", EVENT + "\n"),
    "empty timestamp": changed("webhook-timestamp", ""),
    "negative timestamp": changed("webhook-timestamp", f"-{NOW}"),
    "signed timestamp": changed("webhook-timestamp", f"+{NOW}"),
    "timestamp with a space": changed("webhook-timestamp", f" {NOW}"),
    "timestamp with a newline": changed("webhook-timestamp", f"{NOW}\n"),
    "timestamp with an underscore": changed("webhook-timestamp", "1_614265330"),
    "fraction": changed("webhook-timestamp", f"{NOW}.0"),
    "NaN": changed("webhook-timestamp", "NaN"),
    "infinity": changed("webhook-timestamp", "inf"),
    "huge timestamp": changed("webhook-timestamp", "9" * 5000),
    "digits of another script": changed("webhook-timestamp", "١٦١٤٢٦٥٣٣٠"),
    "superscript": changed("webhook-timestamp", "161426533²"),
    "empty signature": changed("webhook-signature", ""),
    "no version": changed("webhook-signature", SIGNATURE[3:]),
    "only another version": changed("webhook-signature", "v1a,AAAA"),
    "signature beyond ASCII": changed("webhook-signature", SIGNATURE + " v1,é"),
    "surrogate in the signature": changed("webhook-signature", "v1,\udcff"),
    "65 signatures": changed("webhook-signature", " ".join(["v1,x"] * 64 + [SIGNATURE])),
    "16 KiB and one": changed("webhook-signature", (SIGNATURE + " ").ljust(16 * 1024 + 1, "x")),
    "SHA-1": {"X-Hub-Signature": "sha1=" + "0" * 40},
    "no algorithm": {"X-Hub-Signature-256": "0" * 64},
    "upper-case hex": {"X-Hub-Signature-256": "sha256=" + "A" * 64},
    "newline after hex": {"X-Hub-Signature-256": HUB_SIGNATURE + "\n"},
    "digits of another script in hex": {"X-Hub-Signature-256": "sha256=" + "١" * 64},
    "empty hub signature": {"X-Hub-Signature": ""},
}


@pytest.mark.parametrize("headers", HOSTILE.values(), ids=HOSTILE)
def test_hostile_headers_are_refused_as_invalid(headers: dict[str, str]) -> None:
    with pytest.raises(InvalidHeaderError):
        verify(BODY, headers, SECRET, now=NOW)


def test_64_signatures_in_16_kib_are_still_read() -> None:
    value = " ".join(["v1,x"] * 63 + [SIGNATURE])
    verify(BODY, HEADERS | {"webhook-signature": value}, SECRET, now=NOW)
    value = SIGNATURE + " v1," + "x" * (16 * 1024 - len(SIGNATURE) - 4)
    assert len(value) == 16 * 1024
    verify(BODY, HEADERS | {"webhook-signature": value}, SECRET, now=NOW)


def test_what_the_hostile_headers_were_made_from_is_genuine() -> None:
    assert verify(BODY, HEADERS, SECRET, now=NOW).id == EVENT
    for name in ("X-Hub-Signature", "X-Hub-Signature-256"):
        verify(BODY, {name: HUB_SIGNATURE}, SECRET)
