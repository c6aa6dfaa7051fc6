"""All customers together, for comparing one with them. Read once per process, since past orders do not change."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from statistics import median

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from arqway.workers.jobs.report import schema

BINS = 44
LOWEST_USD, HIGHEST_USD = 4.0, 16_000.0


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One figure over all customers: its mean and its median."""

    mean: Decimal
    median: Decimal


@dataclass(frozen=True, slots=True)
class Population:
    """The spending of all customers, in whole cents, and the period that their orders cover."""

    cents: tuple[int, ...]
    """What each customer spent, ascending."""
    first: date
    last: date
    spend: Benchmark
    orders: Benchmark
    average_order: Benchmark

    @property
    def customers(self) -> int:
        """The number of customers."""
        return len(self.cents)

    def rank(self, spent: Decimal) -> int:
        """Return the rank (from 1) of a customer who spent this much; equal spenders share the better rank."""
        return 1 + self.customers - bisect_right(self.cents, int(spent * 100))

    def share_below(self, spent: Decimal) -> float:
        """Return the share (0 to 1) of all customers who spent less."""
        return bisect_left(self.cents, int(spent * 100)) / self.customers

    def histogram(self) -> list[tuple[float, float, int]]:
        """Count the customers by spending, as (from, up to, customers), in dollars, in steps of equal ratio.

        The first and the last step include whatever lies beyond them: zero has no place on such a scale.
        """
        step = (HIGHEST_USD / LOWEST_USD) ** (1 / BINS)
        edges = [LOWEST_USD * step**n for n in range(BINS + 1)]
        inner = [bisect_left(self.cents, edge * 100) for edge in edges[1:-1]]
        marks = [0, *inner, self.customers]
        return [(edges[n], edges[n + 1], marks[n + 1] - marks[n]) for n in range(BINS)]


async def read_population(engine: AsyncEngine) -> Population:
    """Sum up every customer in one query, and compute the figures from that."""
    table = schema.orders.c
    each = select(func.count(), func.sum(table.cents)).group_by(table.customer_id)
    async with engine.connect() as connection:
        customers = [(orders, int(cents)) for orders, cents in (await connection.execute(each)).all()]
        first, last = (await connection.execute(select(func.min(table.ordered_on), func.max(table.ordered_on)))).one()
    return measure(customers, first, last)


def measure(customers: Iterable[tuple[int, int]], first: date, last: date) -> Population:
    """Compute the figures of all customers, each given as (number of orders, cents spent); at least one is required."""
    counts, cents = zip(*customers, strict=True)
    averages = [spent / orders for orders, spent in zip(counts, cents, strict=True)]
    return Population(
        cents=tuple(sorted(cents)),
        first=first,
        last=last,
        spend=Benchmark(_dollars(sum(cents) / len(cents)), _dollars(median(cents))),
        orders=Benchmark(_rounded(sum(counts) / len(counts)), _rounded(median(counts))),
        average_order=Benchmark(_dollars(sum(cents) / sum(counts)), _dollars(median(averages))),
    )


def _dollars(cents: float) -> Decimal:
    return _rounded(cents / 100)


def _rounded(value: float) -> Decimal:
    return Decimal(value).quantize(Decimal("0.01"))
