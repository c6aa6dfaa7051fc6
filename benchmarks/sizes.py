"""How much is measured: a full run, a quick look, or a test of the harness itself."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Turns:
    """How often each contestant has its turn."""

    runs: int = 5


@dataclass(frozen=True, kw_only=True)
class Sizes(Turns):
    """Counts of jobs are for one contestant in one run."""

    share: float = 1.0
    """Part of the jobs that ``roster`` names for a drain."""
    warm_up: int = 500
    """Jobs that run first and are not measured."""
    naps: int = 2_000
    computed: int = 4_000
    trickled: int = 200
    idle_s: float = 10.0
    enqueued: int = 10_000
    few_waiting: int = 1_000
    many_waiting: int = 1_000_000
    rounds: int = 50
    """Measured calls of each script at each length of the queue."""

    def drained(self, jobs: int) -> int:
        """Return how many no-op jobs a contestant gets that gets ``jobs`` in a full run."""
        return max(100, int(jobs * self.share))


FULL = Sizes()
QUICK = Sizes(
    runs=1,
    share=0.2,
    warm_up=200,
    computed=1_000,
    trickled=50,
    idle_s=2,
    enqueued=2_000,
    many_waiting=50_000,
    rounds=20,
)
