"""Every test process gets an Airflow home of its own.

Invariant: no test reads or writes the Airflow of whoever runs the tests.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.postgres import PostgresServer, find_binaries

# Airflow reads its settings while it is imported, so they stand before any test module is.
for _name in [name for name in os.environ if name.startswith(("AIRFLOW__", "AIRFLOW_"))]:
    del os.environ[_name]
HOME = Path(tempfile.mkdtemp(prefix="webhook-notify-tests-"))
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ.update(
    AIRFLOW_HOME=str(HOME),
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(HOME / "dags"),
    AIRFLOW__CORE__FERNET_KEY="VZlXpDT8F9pUIgFnkMdcZP5vgEEZ2fXn1mwV1nnnr3o=",
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{HOME / 'airflow.db'}",
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=str(HOME / "logs"),
    # The default is port 8080, where the Airflow of whoever runs the tests may listen.
    AIRFLOW__CORE__EXECUTION_API_SERVER_URL="http://127.0.0.1:1/execution/",
)


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """A migrated metadata database, for the tests that can't do without."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    # Not in a folder of pytest's: each new session of pytest closes those to the user that PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="webhook-notify-postgres-") as folder:
        server = PostgresServer.start(Path(folder), binaries=binaries)
        yield server
        server.stop()
