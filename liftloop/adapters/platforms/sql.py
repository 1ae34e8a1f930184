"""A table as a platform: one row a cell, and a second table with every key ever applied.

Both are written in one transaction, so that a key is known exactly when its budget was set.
Money is whole cents: SQLite would keep a decimal as a binary float.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from liftloop.adapters import clock
from liftloop.adapters.platforms.protocol import PlatformRefused, PlatformUnreachable
from liftloop.core.errors import ConfigurationError
from liftloop.core.policy import BudgetLine, Cell, from_cents, to_cents


class SqlPlatform:
    """``url`` is any SQLAlchemy address; the tables ``table`` and ``table``_keys are made when they
    are missing."""

    whole = True

    def __init__(self, url: str, *, table: str, timeout: float) -> None:
        try:
            address = make_url(url)
            self.engine = sa.create_engine(
                address, poolclass=NullPool, connect_args=_patience(address, timeout)
            )
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError):
            raise ConfigurationError(
                "platforms: url is no database address SQLAlchemy can open.",
                fix="use dialect+driver://user@host/name, and install the driver.",
            ) from None
        self._milliseconds = max(1, int(timeout * 1000))
        metadata = sa.MetaData()
        self.budgets = sa.Table(
            table,
            metadata,
            sa.Column("segment", sa.String(255), primary_key=True),
            sa.Column("channel", sa.String(255), primary_key=True),
            sa.Column("daily_cents", sa.BigInteger, nullable=False),
            sa.Column("effective_from", sa.Date, nullable=False),
            sa.Column("decision_id", sa.String(64), nullable=False),
            sa.Column("idempotency_key", sa.String(64), nullable=False),
        )
        self.keys = sa.Table(
            f"{table}_keys",
            metadata,
            sa.Column("idempotency_key", sa.String(64), primary_key=True),
            sa.Column("segment", sa.String(255), nullable=False),
            sa.Column("channel", sa.String(255), nullable=False),
            sa.Column("daily_cents", sa.BigInteger, nullable=False),
            sa.Column("applied_at", sa.DateTime(timezone=True), nullable=False),
        )

    def read(self, cells: Sequence[Cell]) -> Mapping[Cell, Decimal]:
        table, wanted = self.budgets, set(cells)
        with self._transaction() as connection:
            self._make(connection)
            rows = connection.execute(
                sa.select(table.c.segment, table.c.channel, table.c.daily_cents)
            ).all()
        found = {Cell(segment, channel): from_cents(cents) for segment, channel, cents in rows}
        return {cell: amount for cell, amount in found.items() if cell in wanted}

    def set(self, lines: Sequence[BudgetLine]) -> None:
        with self._transaction() as connection:
            self._make(connection)
            for line in lines:
                if not self._known(connection, line.idempotency_key):
                    self._upsert(connection, line)

    def _known(self, connection: sa.Connection, key: str) -> bool:
        column = self.keys.c.idempotency_key
        return connection.execute(sa.select(column).where(column == key)).first() is not None

    def _upsert(self, connection: sa.Connection, line: BudgetLine) -> None:
        """The cell's row and the key. A key that another program adds meanwhile breaks the primary
        key, and with it the whole transaction."""
        table, cents = self.budgets, to_cents(line.daily_budget)
        cell = {"segment": line.segment, "channel": line.channel}
        key = {"idempotency_key": line.idempotency_key}
        connection.execute(
            self.keys.insert().values(**cell, **key, daily_cents=cents, applied_at=clock.now())
        )
        budget = {
            "daily_cents": cents,
            "effective_from": line.effective_from,
            "decision_id": line.decision_id,
            **key,
        }
        here = (table.c.segment == line.segment) & (table.c.channel == line.channel)
        if not connection.execute(table.update().where(here).values(**budget)).rowcount:
            connection.execute(table.insert().values(**cell, **budget))

    def _make(self, connection: sa.Connection) -> None:
        for table in (self.budgets, self.keys):
            table.create(connection, checkfirst=True)

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self.engine.begin() as connection:
                if connection.dialect.name == "postgresql":  # not in the address: it has its own
                    for limit in ("statement_timeout", "lock_timeout"):
                        connection.exec_driver_sql(f"SET LOCAL {limit} = {self._milliseconds}")
                yield connection
        except ProgrammingError as error:
            raise PlatformRefused(f"the database refused ({type(error.orig).__name__})") from None
        except SQLAlchemyError as error:
            cause = type(getattr(error, "orig", None) or error).__name__
            raise PlatformUnreachable(f"the database did not take part ({cause})") from None


def _patience(address: sa.URL, timeout: float) -> dict[str, Any]:
    """How long a connection is waited for, in the words of the driver; others keep their own."""
    driver = address.get_driver_name()
    if driver == "pysqlite":
        return {"timeout": timeout}
    return {"connect_timeout": max(1, round(timeout))} if driver == "psycopg" else {}
