"""What the tables' descriptions are made of: the list they stand in, and columns of kinds that recur."""

from typing import Any

from sqlalchemy import BigInteger, Column, Computed, DateTime, Integer, LargeBinary, MetaData, Numeric, func, text
from sqlalchemy.dialects.postgresql import JSONB

metadata = MetaData()


def moment(name: str, *, default: bool = False, nullable: bool = True) -> Column[Any]:
    """Return a column for a point in time."""
    if default:
        return Column(name, DateTime(timezone=True), nullable=False, server_default=func.now())
    return Column(name, DateTime(timezone=True), nullable=nullable)


def counter(name: str, kind: type[Integer] | type[BigInteger] = Integer) -> Column[Any]:
    """Return a counter that starts at 0."""
    return Column(name, kind, nullable=False, server_default=text("0"))


def amount(name: str, *, default: bool = False) -> Column[Any]:
    """Return an exact amount in US dollars."""
    return Column(name, Numeric, nullable=False, server_default=text("0") if default else None)


def json_column(name: str, empty: str | None = None) -> Column[Any]:
    """Return a JSONB column, nullable unless it has an empty value (`'{}'` or `'[]'`)."""
    if empty is None:
        return Column(name, JSONB(none_as_null=True))
    return Column(name, JSONB, nullable=False, server_default=text(f"'{empty}'::jsonb"))


def path_digest() -> Column[Any]:
    """Return the digest by which paths are unique: a path may have 4,096 bytes, a btree entry 2,704."""
    return Column("path_digest", LargeBinary, Computed("sha256(relative_path)", persisted=True))
