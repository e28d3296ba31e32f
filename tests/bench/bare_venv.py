"""A virtual environment with all that this one has, but for this package.

Invariant: nothing is installed or copied: it links to what is installed here.
"""

from __future__ import annotations

import re
import sysconfig
import venv
from pathlib import Path

_OURS = re.compile(r"airflow[-_]webhook[-_]notify")


def make_bare_venv(folder: Path) -> str:
    """Make it in a folder and return its Python."""
    venv.create(folder, symlinks=True, with_pip=False)
    version = sysconfig.get_python_version()
    packages = folder / "lib" / f"python{version}" / "site-packages"
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not _OURS.search(path.name):
            (packages / path.name).symlink_to(path)
    return str(folder / "bin" / "python")
