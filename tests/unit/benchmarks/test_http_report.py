"""What is to be reached over HTTP, and how it is shown."""

from pathlib import Path

from benchmarks.http import report
from benchmarks.http.__main__ import SERIES
from benchmarks.http.listing import DEEP, FILTERS
from benchmarks.http.roster import APIS, ARQWAY, BARE, CELERY
from benchmarks.http.targets import NAMES, targets
from benchmarks.roster import ROOT
from benchmarks.tables import put
from benchmarks.targets import Results, verdicts
from tests.unit.benchmarks.test_targets import result_of


def posts(contestant: str, *rates: float) -> list[tuple[int, str, str, dict[str, float]]]:
    """POST under load by one contestant, a run each."""
    return [(run, "post", contestant, {"per_s": rate}) for run, rate in enumerate(rates, start=1)]


def test_a_target_is_judged_by_ratios_within_a_run() -> None:
    """A run at half speed changes neither; each target has its own other side."""
    result = result_of(*posts(BARE.name, 1000, 500), *posts(ARQWAY.name, 500, 250), *posts(CELERY.name, 50, 25))
    judged = {verdict.target.what: verdict for verdict in verdicts(Results(result), targets())}
    assert set(judged) == {"POST against FastAPI alone", "POST against the tutorial's way"}
    assert judged["POST against FastAPI alone"].reached == (0.5, 0.5, 0.5)
    assert not judged["POST against FastAPI alone"].met
    assert judged["POST against the tutorial's way"].reached == (10, 10, 10)
    assert judged["POST against the tutorial's way"].met


def test_every_target_has_a_series_and_contestants() -> None:
    """A target that no run can have figures for would be missed in silence."""
    series, names = {one.name for one in SERIES}, {api.name for api in APIS}
    for target in targets():
        for source in (target.ours, *([target.other] if target.other else [])):
            assert source.series in series, target.what
            assert source.contestant in names, target.what
    assert set(NAMES) == {*FILTERS, DEEP}


def test_the_tables_show_what_there_is() -> None:
    """Contestants without figures have no row, and lists have one for each filter that was measured."""
    lists = {"none_p50_few_ms": 1.5, "none_p99_few_ms": 2.5, "none_p50_many_ms": 3.5, "none_p99_many_ms": 30.0}
    shown = report.tables(result_of(*posts(ARQWAY.name, 900), (1, "listing", ARQWAY.name, lists)))
    assert "| Arqway | 900 | - |" in shown
    assert "| no filter | 1.5 | 2.5 | 3.5 | 30 |" in shown
    assert "| many jobs, a page, no filter, p99 | 30 | - | 30 | ≤ 25 ms | **missed** |" in shown
    assert "1 in 1,000" not in shown
    assert BARE.name not in shown


def test_figures_go_between_the_marks_of_their_program(tmp_path: Path) -> None:
    """The rest of the page stays, and so does another program's part."""
    page = tmp_path / "page.md"
    text = "<!-- figures: {} -->\nold\n<!-- end of figures -->\n"
    page.write_text(f"head\n{text.format('one')}middle\n{text.format('other')}end\n")
    put(page, "one", "new\n", Path("2026-01-02-x-http.json"))
    new = text.format("one").replace("old", "new\n\nSource: `benchmarks/results/2026-01-02-x-http.json`\n")
    assert page.read_text() == f"head\n{new}middle\n{text.format('other')}end\n"


def test_the_page_has_the_marks() -> None:
    """Else a report would change nothing, and say nothing of it."""
    assert report.PAGE.read_text().count("<!-- figures: python -m benchmarks.http report -->\n") == 1


def test_contestants_are_told_apart() -> None:
    """Names are what results are found by, environments are not shared, and each application is there."""
    assert len({api.name for api in APIS}) == len(APIS)
    others = [api.programs for api in APIS if api.packages]
    assert len(set(others)) == len(others)
    for api in APIS:
        assert Path(ROOT, *api.module.split(".")).with_suffix(".py").exists()
