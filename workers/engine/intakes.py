"""The intakes of one worker, side by side: of its jobs and, where webhooks are on, of their deliveries."""

import asyncio

from arqway.workers.background import end
from arqway.workers.engine.intake import Intake


class Intakes:
    """Intakes that begin and end together. One that ends by itself ends all: a burst is over, or it has failed."""

    def __init__(self, *intakes: Intake) -> None:
        self._intakes = intakes

    def stop(self) -> None:
        """Claim no more."""
        for intake in self._intakes:
            intake.stop()

    async def run(self) -> None:
        """Claim until one of them has stopped, and so all."""
        running = [asyncio.create_task(intake.run()) for intake in self._intakes]
        try:
            await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            await asyncio.gather(*running)
        finally:
            await end(task for task in running if not task.done())

    async def emptied(self, timeout_s: float, hurry: asyncio.Event) -> bool:
        """Wait until no job holds a slot, at most ``timeout_s`` or until ``hurry``; tell whether that is so."""
        return all(await asyncio.gather(*(intake.emptied(timeout_s, hurry) for intake in self._intakes)))
