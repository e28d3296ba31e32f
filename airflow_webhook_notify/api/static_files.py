"""The styles and scripts of the Webhooks page.

Invariant: only the files that are in the package's folder are served, read once; their address changes with their
content, so a browser may keep them.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).parent / "static"
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class StaticFile(NamedTuple):
    """One file and its media type."""

    content: bytes
    media_type: str


@cache
def files() -> dict[str, StaticFile]:
    """Return the files by name."""
    paths = sorted(path for path in _FOLDER.iterdir() if path.suffix in _TYPES)
    return {path.name: StaticFile(path.read_bytes(), _TYPES[path.suffix]) for path in paths}


@cache
def version() -> str:
    """Return what stands in the address of all of them."""
    digest = hashlib.sha256()
    for name, file in files().items():
        digest.update(f"{name}:{len(file.content)}:".encode() + file.content)
    return digest.hexdigest()[:12]
