"""The arithmetic of a report: from one customer's orders to the figures on page one. Pure functions, exact money."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from statistics import fmean, median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from arqway.workers.jobs.report.population import Population

CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Order:
    """One order of one customer; ``amount`` in US dollars."""

    ordered_on: date
    cds: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Month:
    """The orders of one calendar month, identified by its first day."""

    month: date
    orders: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Gaps:
    """The days between consecutive orders."""

    median_days: float
    mean_days: float
    longest_days: int


@dataclass(frozen=True, slots=True)
class Standing:
    """The customer's rank by spending among all customers; ``share_below`` (0 to 1) of them spent less."""

    rank: int
    customers: int
    share_below: float


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one customer over the whole period of the data set."""

    customer_id: int
    orders: int
    cds: int
    total: Decimal
    average: Decimal
    first: date
    last: date
    gaps: Gaps | None
    """None for a customer with a single order."""
    months: tuple[Month, ...]
    """Every month of the period, including those without an order."""
    standing: Standing


def summarise(customer_id: int, orders: Sequence[Order], population: "Population") -> Summary:
    """Sum up the orders (at least one, oldest first) of a customer, and rank the customer among all."""
    total = sum((order.amount for order in orders), Decimal(0))
    return Summary(
        customer_id=customer_id,
        orders=len(orders),
        cds=sum(order.cds for order in orders),
        total=total,
        average=(total / len(orders)).quantize(CENT, ROUND_HALF_UP),
        first=orders[0].ordered_on,
        last=orders[-1].ordered_on,
        gaps=measure_gaps([order.ordered_on for order in orders]),
        months=tuple(by_month(orders, population.first, population.last)),
        standing=Standing(population.rank(total), population.customers, population.share_below(total)),
    )


def measure_gaps(days: Sequence[date]) -> Gaps | None:
    """Measure the days between neighbours in an ascending sequence; None if it has fewer than two."""
    gaps = [(later - earlier).days for earlier, later in pairwise(days)]
    return Gaps(median(gaps), fmean(gaps), max(gaps)) if gaps else None


def by_month(orders: Sequence[Order], first: date, last: date) -> Iterator[Month]:
    """Yield one entry per calendar month from ``first`` to ``last``, zero where nothing was ordered."""
    amounts: dict[date, list[Decimal]] = {month: [] for month in months_between(first, last)}
    for order in orders:
        amounts[order.ordered_on.replace(day=1)].append(order.amount)
    for month, paid in amounts.items():
        yield Month(month, len(paid), sum(paid, Decimal(0)))


def months_between(first: date, last: date) -> Iterator[date]:
    """Yield the first day of each month from ``first``'s to ``last``'s, both included."""
    for count in range(first.year * 12 + first.month - 1, last.year * 12 + last.month):
        yield date(count // 12, count % 12 + 1, 1)
