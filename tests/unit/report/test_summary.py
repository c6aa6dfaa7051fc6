from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from arqway.workers.jobs.report.figures import Gaps, Month, Order, by_month, measure_gaps, months_between, summarise
from tests.support.reports import FIRST, LAST, make_order, make_population

EVERYBODY = make_population((1, 1000), (1, 1000), (2, 5000), (3, 9999), (1, 0))

amounts = st.decimals(0, 5000, places=2)
days = st.dates(FIRST, LAST)
histories = st.lists(st.builds(Order, days, st.integers(1, 99), amounts), min_size=1, max_size=40).map(
    lambda orders: sorted(orders, key=lambda order: order.ordered_on)
)


def test_the_figures_of_a_small_history_are_those_worked_out_by_hand() -> None:
    """Totals, average, first and last day, gaps and standing of three orders agree with a calculation on paper."""
    orders = [
        make_order(date(1997, 1, 5), "10.00", 1),
        make_order(date(1997, 1, 15), "20.00", 2),
        make_order(date(1997, 3, 16), "20.01", 4),
    ]

    summary = summarise(7, orders, EVERYBODY)

    assert (summary.orders, summary.cds, summary.total, summary.average) == (3, 7, Decimal("50.01"), Decimal("16.67"))
    assert (summary.first, summary.last) == (date(1997, 1, 5), date(1997, 3, 16))
    assert summary.gaps == Gaps(median_days=35, mean_days=35, longest_days=60)
    assert (summary.rank, summary.share_below) == (2, 0.8)
    assert summary.months[:3] == (
        Month(date(1997, 1, 1), 2, Decimal("30.00")),
        Month(date(1997, 2, 1), 0, Decimal(0)),
        Month(date(1997, 3, 1), 1, Decimal("20.01")),
    )


def test_a_single_order_has_no_gaps() -> None:
    """Who ordered once has no days between orders, rather than zero of them."""
    assert measure_gaps([FIRST]) is None


@given(histories)
def test_the_months_add_up_to_the_total(orders: list[Order]) -> None:
    """No order and no cent is lost or counted twice by month, and every month of the period is there."""
    months = list(by_month(orders, FIRST, LAST))

    assert sum(month.orders for month in months) == len(orders)
    assert sum(month.amount for month in months) == sum(order.amount for order in orders)
    assert [month.month for month in months] == list(months_between(FIRST, LAST))


@given(days, days)
def test_months_follow_one_another(one: date, other: date) -> None:
    """The months between two days are consecutive first days, from the month of one to that of the other."""
    first, last = sorted((one, other))

    months = list(months_between(first, last))

    assert (months[0], months[-1]) == (first.replace(day=1), last.replace(day=1))
    assert all((month - timedelta(days=1)).replace(day=1) == before for before, month in pairwise(months))


@given(histories)
def test_the_average_is_the_total_shared_out_to_the_nearest_cent(orders: list[Order]) -> None:
    """The average times the number of orders is off the total by no more than half a cent for each order."""
    summary = summarise(1, orders, EVERYBODY)

    assert abs(summary.average * summary.orders - summary.total) <= Decimal("0.005") * summary.orders


@given(histories)
def test_the_gaps_add_up_to_the_time_between_first_and_last(orders: list[Order]) -> None:
    """The mean gap times the number of gaps is the time from first order to last; the longest gap bounds the median."""
    summary = summarise(1, orders, EVERYBODY)

    if summary.gaps:
        assert round(summary.gaps.mean_days * (len(orders) - 1)) == (summary.last - summary.first).days
        assert summary.gaps.median_days <= summary.gaps.longest_days
