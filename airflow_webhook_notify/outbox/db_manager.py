"""How `airflow db` makes and migrates the outbox's tables.

Invariant: `airflow db migrate` on an empty database and on one of any earlier release ends with the same tables.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.utils.db_manager import BaseDBManager

from airflow_webhook_notify.outbox import watch_tables

_HERE = Path(__file__).parent


class OutboxDBManager(BaseDBManager):
    """Named by `db-managers` in the provider info; Airflow makes and runs it."""

    # That of the outbox's tables too: it has the watcher's once their module is imported.
    metadata = watch_tables.watch.metadata
    version_table_name = "alembic_version_webhook_notify"
    migration_dir = (_HERE / "migrations").as_posix()
    alembic_file = (_HERE / "alembic.ini").as_posix()
    # `airflow db reset` drops what it makes again.
    supports_table_dropping = True

    def downgrade(self, to_revision: str, from_revision: str | None = None, show_sql_only: bool = False) -> None:
        """Take the tables back to an earlier revision, `base` for none at all.

        `airflow db downgrade` leaves the tables of providers alone, so this is for whoever removes the package.
        """
        from alembic import command

        config: Any = self.get_alembic_config()  # type: ignore[no-untyped-call]
        revision = f"{from_revision}:{to_revision}" if show_sql_only and from_revision else to_revision
        # Alembic works on a connection of its own, which this session's locks must not keep waiting.
        self.session.commit()
        command.downgrade(config, revision, sql=show_sql_only)
