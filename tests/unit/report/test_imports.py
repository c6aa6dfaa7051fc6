import subprocess
import sys

HEAVY = ("sqlalchemy", "matplotlib", "typst", "obstore", "aiosqlite", "numpy")


def test_the_job_can_be_imported_without_the_report_extra() -> None:
    """The HTTP service gets the job's models without a database driver, matplotlib, typst or obstore being loaded."""
    program = f"import sys, arqway.workers.jobs; print([name for name in {HEAVY!r} if name in sys.modules])"

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"
