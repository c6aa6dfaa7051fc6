"""The arithmetic of a report: one customer's orders, and all customers for comparison. Pure functions, exact money."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from statistics import fmean, median

BINS = 44
LOWEST_USD, HIGHEST_USD = 4.0, 16_000.0
CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Order:
    """One order of one customer; ``amount`` in US dollars."""

    ordered_on: date
    cds: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Month:
    """The orders of one calendar month, identified by its first day; ``amount`` in US dollars."""

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
class Benchmark:
    """One figure over all customers: its mean and its median, rounded to two decimal places."""

    mean: Decimal
    median: Decimal

    @classmethod
    def rounded(cls, mean: float, median: float) -> "Benchmark":
        """Return both figures, rounded."""
        return cls(Decimal(mean).quantize(CENT), Decimal(median).quantize(CENT))


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
        """Return the rank (from 1) of a customer who spent this many dollars; equal spenders share the better rank."""
        return 1 + self.customers - bisect_right(self.cents, int(spent * 100))

    def share_below(self, spent: Decimal) -> float:
        """Return the share (0 to 1) of all customers who spent less than this many dollars."""
        return bisect_left(self.cents, int(spent * 100)) / self.customers

    def histogram(self) -> list[tuple[float, float, int]]:
        """Count the customers by spending, as (from, up to, customers), in dollars, in steps of equal ratio.

        The first and the last step include whatever lies beyond them: zero has no place on such a scale.
        """
        step = (HIGHEST_USD / LOWEST_USD) ** (1 / BINS)
        edges = [LOWEST_USD * step**n for n in range(BINS + 1)]
        marks = [0, *(bisect_left(self.cents, edge * 100) for edge in edges[1:-1]), self.customers]
        return [(edges[n], edges[n + 1], marks[n + 1] - marks[n]) for n in range(BINS)]


def measure(customers: Iterable[tuple[int, int]], first: date, last: date) -> Population:
    """Compute the figures of all customers, each given as (number of orders, cents spent); at least one is required."""
    counts, cents = zip(*customers, strict=True)
    averages = [spent / orders for orders, spent in zip(counts, cents, strict=True)]
    return Population(
        cents=tuple(sorted(cents)),
        first=first,
        last=last,
        spend=Benchmark.rounded(sum(cents) / len(cents) / 100, median(cents) / 100),
        orders=Benchmark.rounded(sum(counts) / len(counts), median(counts)),
        average_order=Benchmark.rounded(sum(cents) / sum(counts) / 100, median(averages) / 100),
    )


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one customer over the whole period of the data set; ``total`` and ``average`` in US dollars."""

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
    rank: int
    """The customer's rank by spending among all customers, from 1."""
    share_below: float
    """The share (0 to 1) of all customers who spent less."""


def summarise(customer_id: int, orders: Sequence[Order], population: Population) -> Summary:
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
        rank=population.rank(total),
        share_below=population.share_below(total),
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
