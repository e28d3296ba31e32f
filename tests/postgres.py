"""A PostgreSQL server of the tests' own.

Invariant: it listens on loopback only, keeps its data in the folder it is given, and ends with the session.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg2

from tests.processes import Process, free_port

SUPERUSER = "airflow"
START_TIMEOUT = 30.0
_ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}
SETTINGS = ("listen_addresses=127.0.0.1", "fsync=off", "max_connections=200")


def find_binaries() -> Path | None:
    """Return the folder of `initdb` and `postgres`; None where PostgreSQL's server is not installed."""
    found = shutil.which("initdb")
    # Debian keeps them off the path, one folder per version.
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    folders = [Path(found).parent] if found else installed
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


@dataclass(frozen=True)
class PostgresServer:
    """A running server."""

    process: Process
    port: int

    @classmethod
    def start(cls, folder: Path, *, binaries: Path) -> PostgresServer:
        """Make a database cluster in an empty folder and serve it.

        :raises RuntimeError: where it takes no connections within 30 s
        """
        user, port, data = _owner(), free_port(), folder / "data"
        data.mkdir(parents=True)
        if user:
            shutil.chown(folder, user)
            shutil.chown(data, user)
        initdb = [str(binaries / "initdb"), "-D", str(data), "-U", SUPERUSER, "--auth=trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder, env=_ENVIRONMENT, user=user)
        options = [part for setting in (*SETTINGS, f"unix_socket_directories={data}") for part in ("-c", setting)]
        command = [str(binaries / "postgres"), "-D", str(data), "-p", str(port), *options]
        return cls._serve(command, port, folder / "postgres.log")

    @classmethod
    def _serve(cls, command: Sequence[str], port: int, log: Path) -> PostgresServer:
        process = Process.start("postgres", command, log=log, env=_ENVIRONMENT, user=_owner())
        server = cls(process, port)
        server.wait_until_ready()
        return server

    def restarted(self) -> PostgresServer:
        """End it without waiting for its clients, and return it as it runs again."""
        self.stop()
        args = self.process.popen.args
        assert isinstance(args, list)
        return self._serve(args, self.port, self.process.log)

    def wait_until_ready(self) -> None:
        """Return once it takes connections."""
        end = time.monotonic() + START_TIMEOUT
        while True:
            try:
                psycopg2.connect(self.dsn("postgres")).close()
                return
            except psycopg2.OperationalError:
                if time.monotonic() > end or not self.process.running:
                    self.stop()
                    raise RuntimeError(f"PostgreSQL did not start:\n{self.process.output()}") from None
                time.sleep(0.05)

    def create_database(self, name: str) -> str:
        """Make an empty database and return its SQLAlchemy URL."""
        connection = psycopg2.connect(self.dsn("postgres"))
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f'CREATE DATABASE "{name}"')
        finally:
            connection.close()
        return f"postgresql+psycopg2://{SUPERUSER}@127.0.0.1:{self.port}/{name}"

    def dsn(self, database: str) -> str:
        """Return how libpq reaches a database of it."""
        return f"host=127.0.0.1 port={self.port} user={SUPERUSER} dbname={database}"

    def stop(self) -> None:
        """End it without waiting for its clients."""
        self.process.stop(how=signal.SIGINT)


def _owner() -> str | None:
    """Return whom to run the server as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
