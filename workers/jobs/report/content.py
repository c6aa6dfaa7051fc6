"""The content of a report as plain JSON data: every figure is already formatted as the page shows it.

It is the only input of the typesetting process, so the same content always makes the same file.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

from arqway.workers.jobs.report.summary import Gaps, Order, Summary

if TYPE_CHECKING:
    from arqway.workers.jobs.report.population import Benchmark, Population

REPORT_VERSION = 1
"""Version of the report's layout and figures; part of its key. Raise it with every change that a reader can see."""

SHOP = "CDNOW"
FEW_ORDERS = 5
"""Up to this many orders are listed on the first page, below smaller charts."""
NO_VALUE = "\N{EN DASH}"


def compose(summary: Summary, orders: Sequence[Order], population: "Population") -> dict[str, Any]:
    """Format a customer's figures and orders for ``charts.py``, ``document.py`` and ``report.typ``."""
    return {
        "version": REPORT_VERSION,
        "shop": SHOP,
        "customer": str(summary.customer_id),
        "period": f"{long_date(population.first)} to {long_date(population.last)}",
        "as_of": population.last.isoformat(),
        "compact": summary.orders <= FEW_ORDERS,
        "lead": _lead(summary),
        "facts": [{"label": label, "value": value, "note": note} for label, value, note in _facts(summary)],
        "comparison": _comparison(summary, population),
        "standing": _standing(summary),
        "customers": f"{population.customers:,}",
        "orders": _order_rows(orders),
        "totals": {"cds": f"{summary.cds:,}", "amount": f"{summary.total:,.2f}"},
        "charts": _chart_data(summary, population),
    }


def dollars(amount: Decimal) -> str:
    """Format an amount as ``$8,976.33``."""
    return f"${amount:,.2f}"


def long_date(day: date) -> str:
    """Format a day as ``14 March 1997``, in English whatever the machine's locale."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def short_date(day: date) -> str:
    """Format a day as ``14 Mar 1997``."""
    return f"{day.day} {MONTHS[day.month - 1][:3]} {day.year}"


def count(number: int, noun: str) -> str:
    """Format a count with its noun: ``1 order``, ``217 orders``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def _lead(summary: Summary) -> str:
    cds = count(summary.cds, "CD")
    if summary.orders == 1:
        return f"One order, of {cds} for {dollars(summary.total)}, on {long_date(summary.first)}."
    days = f"from {long_date(summary.first)} to {long_date(summary.last)}"
    return f"{count(summary.orders, 'order')} of {cds} in all, {days}."


def _facts(summary: Summary) -> list[tuple[str, str, str]]:
    standing = summary.standing
    return [
        ("Spent", dollars(summary.total), f"rank {standing.rank:,} of {standing.customers:,}"),
        ("Orders", f"{summary.orders:,}", count(summary.cds, "CD")),
        ("Average order", dollars(summary.average), f"{summary.cds / summary.orders:.1f} CDs"),
        _rhythm(summary.gaps),
    ]


def _rhythm(gaps: Gaps | None) -> tuple[str, str, str]:
    if gaps is None:
        return "Days between orders", NO_VALUE, "needs a second order"
    note = f"median; mean {gaps.mean_days:.1f}, longest {gaps.longest_days}"
    return "Days between orders", f"{gaps.median_days:g}", note


def _comparison(summary: Summary, population: "Population") -> list[dict[str, str]]:
    rows: list[tuple[str, Decimal, Benchmark, bool]] = [
        ("Spent", summary.total, population.spend, True),
        ("Orders", Decimal(summary.orders), population.orders, False),
        ("Average order", summary.average, population.average_order, True),
    ]
    return [
        {
            "label": label,
            "own": _figure(own, money),
            "median": _figure(all_customers.median, money),
            "mean": dollars(all_customers.mean) if money else f"{all_customers.mean:,.1f}",
        }
        for label, own, all_customers, money in rows
    ]


def _figure(value: Decimal, money: bool) -> str:
    return dollars(value) if money else f"{value:,.0f}"


def _standing(summary: Summary) -> str:
    share = int(summary.standing.share_below * 1000) / 10  # rounded down: 100% only for someone ahead of all
    ahead = f"Spent more than {share:g}% of all customers" if share else "Nobody spent less"
    return f"{ahead}: rank {summary.standing.rank:,} of {summary.standing.customers:,}."


def _order_rows(orders: Sequence[Order]) -> list[list[str]]:
    days = [order.ordered_on for order in orders]
    gaps = [NO_VALUE, *(f"{(later - earlier).days:,}" for earlier, later in pairwise(days))]
    sums = accumulate(order.amount for order in orders)
    return [
        [f"{number:,}", short_date(order.ordered_on), gap, f"{order.cds:,}", f"{order.amount:,.2f}", f"{paid:,.2f}"]
        for number, (order, gap, paid) in enumerate(zip(orders, gaps, sums, strict=True), start=1)
    ]


def _chart_data(summary: Summary, population: "Population") -> dict[str, Any]:
    return {
        "months": [[month.month.isoformat(), float(month.amount), month.orders] for month in summary.months],
        "histogram": population.histogram(),
        "spent": float(summary.total),
        "median": float(population.spend.median),
    }
