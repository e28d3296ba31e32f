"""Verifiers that are not ours, for any request that we send.

Invariant: none of our code takes part in a verdict; each function returns where its library takes the request
and raises `RefusedError` where it does not. All of them use the clock, so sign with the present time.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
import standardwebhooks

NODE = Path(__file__).parent / "integration" / "node"
_REFUSED = 3
# As it was before a test took the proxies out of it: npm may need them to reach its registry.
_ENVIRONMENT = dict(os.environ)


class RefusedError(Exception):
    """A library did not take the request; the text is its own reason."""


def verify_with_standardwebhooks(body: bytes, headers: Mapping[str, str], secret: str) -> None:
    """Verify with the `standardwebhooks` package of PyPI.

    :raises RefusedError: where it refuses
    """
    key = secret if secret.startswith("whsec_") else secret.encode()
    try:
        standardwebhooks.Webhook(key).verify(body, dict(headers.items()), json_parse=False)
    except standardwebhooks.WebhookVerificationError as error:
        raise RefusedError(str(error)) from error


def verify_with_octokit(body: bytes, headers: Mapping[str, str], secret: str) -> None:
    """Verify with `@octokit/webhooks-methods` in Node, which reads X-Hub-Signature-256.

    :raises RefusedError: where it refuses
    """
    _verify_in_node("octokit", body, headers, secret)


def verify_with_node_standardwebhooks(body: bytes, headers: Mapping[str, str], secret: str) -> None:
    """Verify with the `standardwebhooks` package of npm.

    :raises RefusedError: where it refuses
    """
    _verify_in_node("standardwebhooks", body, headers, secret)


def verify_everywhere(body: bytes, headers: Mapping[str, str], secret: str) -> None:
    """Verify with every library that this machine can run: Node's are left out where there is no Node.

    :raises RefusedError: where one of them refuses
    """
    verify_with_standardwebhooks(body, headers, secret)
    if why_no_node() is None:
        verify_with_octokit(body, headers, secret)
        verify_with_node_standardwebhooks(body, headers, secret)


def require_node() -> None:
    """Skip the test, with the reason, where Node and the packages can't be had."""
    reason = why_no_node()
    if reason:
        pytest.skip(reason)


@functools.cache
def why_no_node() -> str | None:
    """Return why Node's verifiers can't run here, None where they can; installs their packages once.

    With CI=true in the environment, packages that can't be installed are a failure.
    """
    npm = shutil.which("npm")
    if not npm or not shutil.which("node"):
        return "the verifiers in JavaScript need node and npm (20 or later), which are not on PATH"
    if _installed():
        return None
    done = subprocess.run(
        [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=NODE,
        env=_ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode == 0:
        return None
    if _ENVIRONMENT.get("CI") == "true":
        pytest.fail(f"npm ci failed in {NODE.name}: {done.stderr[-2000:]}")
    return "the verifiers in JavaScript could not be installed: npm ci found no registry"


def _installed() -> bool:
    """Whether node_modules holds what the lock asks for; npm writes its own copy of the lock last."""
    copy = NODE / "node_modules" / ".package-lock.json"
    if not copy.exists():
        return False
    wanted = json.loads((NODE / "package-lock.json").read_text())["packages"]
    have = json.loads(copy.read_text())["packages"]
    return all(have.get(path, {}).get("version") == wanted[path]["version"] for path in wanted if path)


def _verify_in_node(library: str, body: bytes, headers: Mapping[str, str], secret: str) -> None:
    require_node()
    request = {
        "library": library,
        "secret": secret,
        "headers": {name.lower(): value for name, value in headers.items()},
        "body": base64.b64encode(body).decode("ascii"),
    }
    done = subprocess.run(
        ["node", "verify.mjs"],
        cwd=NODE,
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == _REFUSED:
        raise RefusedError(done.stdout.strip())
    # Anything else is a fault of the test's own, and must not pass for a refusal.
    assert done.returncode == 0, done.stderr
