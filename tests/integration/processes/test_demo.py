"""`make demo`: the one test that goes the whole way of a newcomer, with the real processes."""

from pathlib import Path

from arqway.workers.processes.embedded import EmbeddedServer
from tests.support.processes import arqway, descendants


async def test_the_demo_makes_a_report_and_leaves_nothing_running(tmp_path: Path) -> None:
    """It submits, shows progress, downloads the PDF, says how long it took, and does so a second time too."""
    for name in ("first", "second"):
        with arqway(tmp_path, "demo", name=name) as demo:
            assert await demo.ends(timeout_s=50) == 0, demo.output
            assert descendants(demo.process.pid) == []
        assert "POST http://127.0.0.1:" in demo.output
        assert "succeeded  5/5  Stored" in demo.output
        assert " s  in all" in demo.output
        pdf = tmp_path / "demo" / "report-14048.pdf"
        assert str(pdf.relative_to(tmp_path)) in demo.output
        assert pdf.read_bytes().startswith(b"%PDF-")
        pdf.unlink()
        assert not EmbeddedServer(tmp_path / "home" / "demo").is_running()


async def test_the_demo_runs_beside_a_running_stack(tmp_path: Path) -> None:
    """It has a port and a home of its own."""
    with arqway(tmp_path, "up", changes={"ARQWAY_PORT": "0"}, name="up") as up:
        await up.says("Ctrl-C stops everything.")
        with arqway(tmp_path, "demo") as demo:
            assert await demo.ends(timeout_s=50) == 0, demo.output
        assert up.process.poll() is None


async def test_a_demo_that_cannot_write_its_pdf_says_so_before_it_starts(tmp_path: Path) -> None:
    """One line, exit code 2, and no server was started."""
    (tmp_path / "demo").touch()

    with arqway(tmp_path, "demo") as demo:
        assert await demo.ends() == 2
        assert demo.output.count("\n") == 1
        assert "cannot be made" in demo.output
    assert not (tmp_path / "home").exists()
