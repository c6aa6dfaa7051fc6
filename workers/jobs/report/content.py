"""The content of a report as plain JSON data: every figure is already formatted as the page shows it.

It is the only input of the typesetting process, so the same content always makes the same file.
"""

from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Any

from arqway.workers.jobs.report.figures import Order, Population, Summary

REPORT_VERSION = 1
"""Version of the report's layout and figures; part of its key. Raise it with every change that a reader can see."""

SHOP = "CDNOW"
FEW_ORDERS = 5
"""Up to this many orders are listed on the first page, below smaller charts."""
NO_VALUE = "\N{EN DASH}"
MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
"""In English, whatever the machine's locale."""

dollars, tenths, whole = "${:,.2f}".format, "{:,.1f}".format, "{:,.0f}".format


def compose(summary: Summary, orders: Sequence[Order], population: Population) -> dict[str, Any]:
    """Format a customer's figures and orders for ``charts.py``, ``printer.py`` and ``report.typ``."""
    rank = f"rank {summary.rank:,} of {population.customers:,}"
    share = int(summary.share_below * 1000) / 10  # rounded down: 100% only for someone ahead of all
    ahead = f"Spent more than {share:g}% of all customers" if share else "Nobody spent less"
    return {
        "version": REPORT_VERSION,
        "shop": SHOP,
        "customer": str(summary.customer_id),
        "period": f"{_long_date(population.first)} to {_long_date(population.last)}",
        "as_of": population.last.isoformat(),
        "compact": summary.orders <= FEW_ORDERS,
        **_lead_and_facts(summary, rank),
        "comparison": _comparison(summary, population),
        "standing": f"{ahead}: {rank}.",
        "customers": f"{population.customers:,}",
        "orders": _order_rows(orders),
        "totals": {"cds": f"{summary.cds:,}", "amount": f"{summary.total:,.2f}"},
        "charts": {
            "months": [[month.month.isoformat(), float(month.amount), month.orders] for month in summary.months],
            "histogram": population.histogram(),
            "spent": float(summary.total),
            "median": float(population.spend.median),
        },
    }


def _lead_and_facts(summary: Summary, rank: str) -> dict[str, Any]:
    spent, cds = dollars(summary.total), f"{summary.cds:,} CD" if summary.cds == 1 else f"{summary.cds:,} CDs"
    if summary.gaps is None:
        lead = f"One order, of {cds} for {spent}, on {_long_date(summary.first)}."
        gap, gap_note = NO_VALUE, "needs a second order"
    else:
        days = f"from {_long_date(summary.first)} to {_long_date(summary.last)}"
        lead = f"{summary.orders:,} orders of {cds} in all, {days}."
        gap = f"{summary.gaps.median_days:g}"
        gap_note = f"median; mean {summary.gaps.mean_days:.1f}, longest {summary.gaps.longest_days}"
    facts = [
        ("Spent", spent, rank),
        ("Orders", f"{summary.orders:,}", cds),
        ("Average order", dollars(summary.average), f"{summary.cds / summary.orders:.1f} CDs"),
        ("Days between orders", gap, gap_note),
    ]
    return {"lead": lead, "facts": [{"label": label, "value": value, "note": note} for label, value, note in facts]}


def _comparison(summary: Summary, population: Population) -> list[dict[str, str]]:
    rows = [
        ("Spent", summary.total, population.spend, dollars, dollars),
        ("Orders", Decimal(summary.orders), population.orders, whole, tenths),
        ("Average order", summary.average, population.average_order, dollars, dollars),
    ]
    return [
        {"label": label, "own": figure(own), "median": figure(everyone.median), "mean": mean(everyone.mean)}
        for label, own, everyone, figure, mean in rows
    ]


def _order_rows(orders: Sequence[Order]) -> list[list[str]]:
    days = [order.ordered_on for order in orders]
    dates = [f"{day.day} {MONTHS[day.month - 1][:3]} {day.year}" for day in days]
    gaps = [NO_VALUE, *(f"{(later - earlier).days:,}" for earlier, later in pairwise(days))]
    sums = accumulate(order.amount for order in orders)
    return [
        [f"{number:,}", day, gap, f"{order.cds:,}", f"{order.amount:,.2f}", f"{paid:,.2f}"]
        for number, (order, day, gap, paid) in enumerate(zip(orders, dates, gaps, sums, strict=True), start=1)
    ]


def _long_date(day: date) -> str:
    """Format a day as ``14 March 1997``."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"
