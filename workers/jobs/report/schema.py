"""The tables of the report job: ``orders`` (the data set), ``datasets`` (what was loaded), ``reports`` (what was made).

Money is stored in whole cents, so that a sum in SQL is exact on every database.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    DateTime,
    Dialect,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    TypeDecorator,
    UniqueConstraint,
)


class UtcDateTime(TypeDecorator[datetime]):
    """A datetime that keeps its time zone, even on SQLite, which stores none."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Store every datetime in UTC."""
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Read a datetime without a time zone as UTC."""
        return value.replace(tzinfo=UTC) if value and value.tzinfo is None else value


metadata = MetaData()
row_id = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows automatically only in INTEGER columns

orders = Table(
    "orders",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("customer_id", BigInteger, nullable=False),
    Column("ordered_on", Date, nullable=False),
    Column("cds", Integer, nullable=False),
    Column("cents", BigInteger, nullable=False),
    Index("orders_by_customer", "customer_id", "ordered_on"),
)

datasets = Table(
    "datasets",
    metadata,
    Column("name", String(100), primary_key=True),
    Column("loaded_at", UtcDateTime, nullable=False),
)

reports = Table(
    "reports",
    metadata,
    Column("id", row_id, primary_key=True),
    Column("user_id", BigInteger, nullable=False),
    Column("version", Integer, nullable=False),
    Column("object_name", String(200), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("pages", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("user_id", "version", name="one_report_per_user_and_version"),
)
