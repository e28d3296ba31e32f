"""This package's version, as it was installed.

Invariant: the version is written in one place, the package's metadata; asking for it never fails.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "airflow-webhook-notify"


@cache
def package_version() -> str:
    """Return the installed version; `0+unknown` where the package runs from a bare source tree."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0+unknown"
