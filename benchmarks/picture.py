"""The picture of ``docs/benchmarks.md``: throughput and pick-up time of every contestant, on logarithmic axes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")

from matplotlib import pyplot as plt

from benchmarks.figures import Spread
from benchmarks.roster import ARQWAY
from benchmarks.targets import Results

_OURS, _OTHERS = "#c2410c", "#94a3b8"
_PANELS = (
    ("no-op jobs a second, one worker process", "drain", "jobs_per_s", "{:,.0f}"),
    ("pick-up time on an idle worker, median, ms", "drain", "pick_up_p50_ms", "{:,.1f}"),
)


def draw(results: Results, names: Sequence[str], target: Path) -> None:
    """Write the picture as SVG; the same figures give the same file."""
    mpl.rcParams.update({"svg.hashsalt": "arqway", "svg.fonttype": "none", "font.size": 9})
    shown = [name for name in names if results.spread("drain", name, "jobs_per_s")]
    figure, axes = plt.subplots(1, len(_PANELS), figsize=(11, 0.9 + 0.36 * len(shown)), layout="constrained")
    for axis, (title, series, figure_name, text) in zip(axes, _PANELS, strict=True):
        values = {name: value for name in shown if (value := results.spread(series, name, figure_name))}
        _panel(axis, title, values, text)
    figure.savefig(target, metadata={"Date": None})
    plt.close(figure)


def _panel(axis: Any, title: str, values: dict[str, Spread], text: str) -> None:
    names = list(values)[::-1]
    medians = [values[name].median for name in names]
    ranges = [
        [values[name].median - values[name].least for name in names],
        [values[name].most - values[name].median for name in names],
    ]
    colours = [_OURS if name == ARQWAY.name else _OTHERS for name in names]
    axis.set_xscale("log")  # so a place says something and a length does not: points, no bars
    axis.grid(axis="both", color="#e2e8f0", linewidth=0.8)
    axis.set_axisbelow(True)
    axis.errorbar(medians, names, xerr=ranges, fmt="none", elinewidth=1.2, ecolor="#334155", zorder=2)
    axis.scatter(medians, names, color=colours, s=60, zorder=3)
    axis.set_title(title, loc="left", fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    axis.margins(x=0.25)
    for row, name in enumerate(names):
        axis.annotate(
            text.format(medians[row]), (values[name].most, row), (6, 0), textcoords="offset points", va="center"
        )
