"""A worker process that cannot do its duties ends, and its supervisor starts another."""

import asyncio
from pathlib import Path
from signal import SIGTERM

from redis import Redis

from arqway.workers.contract import keys
from tests.support.fleet import fleet_at, gate, hold, lines, living, queue_at, supervised
from tests.support.waiting import wait_for, wait_until


async def test_a_worker_whose_heartbeat_keeps_failing_is_replaced(tmp_path: Path, redis_url: str) -> None:
    """It hands back what it runs and exits with code 1, without a traceback of its end; the next one runs the job."""
    with gate(tmp_path / "gate") as folder, supervised(tmp_path, redis_url, drain_s=60, lease_s=600) as command:
        async with queue_at(redis_url) as jobs, fleet_at(redis_url) as fleet:
            (first,) = await living(fleet, 1)
            job_id = (await jobs.submit(hold, str(folder))).id
            await wait_for(jobs, job_id, lambda record: record.worker == first.id, "runs")
            with Redis.from_url(redis_url) as client:
                client.set(keys.WORKERS, "spoilt")
                await wait_until(
                    lambda: lines(command, "A duty of this process keeps failing"), "it is given up", timeout_s=45
                )
                client.delete(keys.WORKERS)
            (second,) = await living(fleet, 1)
            (folder / "finish").touch()
            record = await jobs.wait(job_id, timeout_s=20)
        assert (record.attempt, record.rescues, record.interrupts, record.worker) == (1, 0, 1, second.id)
        assert "ended with exit code 1" in command.output
        command.signal(SIGTERM)
        assert await asyncio.to_thread(command.process.wait, 30) == 0
        assert not [line for line in command.output.splitlines() if line.startswith("Traceback")]
