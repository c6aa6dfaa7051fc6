"""The charts of a report, as SVG. Drawn without pyplot, which keeps state for the whole process."""

from datetime import date
from io import StringIO
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from arqway.workers.jobs.report.content import MONTHS

INK, MUTED, RULE, PALE = "#1c2733", "#66727f", "#dfe3e8", "#c9d2dc"
BLUE, AMBER = "#24557a", "#c8702a"
WIDTH_CM = 17.0
"""The width of the text on the page. Charts are not scaled, so 8 points here are 8 points there."""

LEFT_CM, TOP_CM = 1.2, 0.15

STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: searchable, and in the document's own font
    "svg.hashsalt": "arqway",  # makes the ids in the SVG the same in each run
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": PALE,
    "axes.labelcolor": MUTED,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "xtick.color": PALE,
    "xtick.labelcolor": MUTED,
    "ytick.color": PALE,
    "ytick.labelcolor": MUTED,
    "ytick.major.size": 0,
}
NO_LABEL_LEFT_OF_USD, NO_LABEL_RIGHT_OF_USD = 10, 3_000
DOCUMENT_FONT = "Libertinus Serif"
"""Typst embeds this font. Matplotlib cannot see it, and leaves enough room with its own, which is wider."""


def draw_charts(content: dict[str, Any]) -> dict[str, str]:
    """Draw the ``monthly`` and ``standing`` charts, both lower if the first page also lists the orders."""
    months_cm, standing_cm = (4.2, 3.5) if content["compact"] else (6.7, 5.3)
    with mpl.rc_context(STYLE):
        return {
            "monthly": _svg(_draw_months(content["charts"]["months"], months_cm)),
            "standing": _svg(_draw_standing(content["charts"], standing_cm)),
        }


def _figure(height_cm: float, *, bottom_cm: float, right_cm: float) -> tuple[Figure, Axes]:
    """Make axes with fixed margins: the charts of a page line up, and measuring labels would take twice as long."""
    figure = Figure(figsize=(WIDTH_CM / 2.54, height_cm / 2.54))
    figure.subplots_adjust(
        left=LEFT_CM / WIDTH_CM, right=1 - right_cm / WIDTH_CM, bottom=bottom_cm / height_cm, top=1 - TOP_CM / height_cm
    )
    return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    page = StringIO()
    FigureCanvasSVG(figure).print_figure(page, format="svg", metadata={"Date": None, "Creator": None})
    return page.getvalue().replace("DejaVu Sans", DOCUMENT_FONT)


def _draw_months(months: list[tuple[str, float, int]], height_cm: float) -> Figure:
    figure, spend = _figure(height_cm, bottom_cm=0.95, right_cm=0.6)
    isodates, amounts, orders = zip(*months, strict=True)
    spend.bar(range(len(months)), amounts, width=0.66, color=BLUE)
    days = [date.fromisoformat(day) for day in isodates]
    spend.set_xticks(range(len(months)), [MONTHS[day.month - 1][:3] for day in days])
    for place, day in enumerate(days):
        if place == 0 or day.month == 1:
            spend.annotate(str(day.year), (place, 0), (0, -23), textcoords="offset points", color=MUTED, ha="center")
    spend.set_xlim(-0.6, len(months) - 0.4)
    spend.grid(axis="y")
    spend.set_ylim(0, max(*amounts, 10) * 1.08)
    spend.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    spend.yaxis.set_major_formatter(FuncFormatter(_dollars))
    counts = spend.twinx()
    counts.plot(orders, color=AMBER, linewidth=1.3, marker="o", markersize=3.4, markerfacecolor="white", clip_on=False)
    counts.set_ylim(0, max(*orders, 2) * 1.08)
    counts.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    counts.tick_params(axis="y", labelcolor=AMBER)
    return figure


def _draw_standing(data: dict[str, Any], height_cm: float) -> Figure:
    figure, axes = _figure(height_cm, bottom_cm=0.6, right_cm=0.05)
    lows, highs, counts = zip(*data["histogram"], strict=True)
    place, median, top = min(max(data["spent"], lows[0]), highs[-1] * 0.999), data["median"], max(counts)
    colours = [BLUE if low <= place < high else PALE for low, high in zip(lows, highs, strict=True)]
    axes.bar(lows, counts, [high - low for low, high in zip(lows, highs, strict=True)], align="edge", color=colours)
    axes.set_xscale("log")
    axes.set_xlim(lows[0], highs[-1])
    axes.xaxis.set_major_locator(FixedLocator([5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_dollars))
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.grid(axis="y")
    axes.set_ylim(0, top * 1.25)
    # Neighbouring labels point away from each other, and neither leaves the page.
    left = NO_LABEL_LEFT_OF_USD < place < median or place > NO_LABEL_RIGHT_OF_USD
    _mark(axes, median, top, "median", MUTED, left=place >= median)
    _mark(axes, place, top, "this customer", BLUE, left=left)
    return figure


def _mark(axes: Axes, place: float, top: float, label: str, colour: str, *, left: bool) -> None:
    axes.plot([place, place], [0, top * 1.2], color=colour, linewidth=0.9, linestyle=(0, (3, 2)))
    offset, side = (-3, "right") if left else (3, "left")
    axes.annotate(label, (place, top * 1.12), (offset, 0), textcoords="offset points", color=colour, ha=side)


def _dollars(value: float, _position: int) -> str:
    return f"${value:,.0f}" if value == int(value) else f"${value:,.2f}"
