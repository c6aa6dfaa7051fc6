"""The routes. Each calls the queue, chooses a status and builds a response; the rules of jobs are in lower layers."""

from typing import cast

from arqway.service.http.routing import JobRoute
from arqway.service.routes import batches, dead, deliveries, events, jobs, public, queues, reports
from arqway.service.routes.submit import submit_routes, unknown
from arqway.workers.registry import Registry


def declared_routes(registry: Registry) -> list[JobRoute]:
    """Return all routes for these jobs. They are matched in order, so the most used ones come first."""
    routers = [jobs.raw, submit_routes(registry), jobs.router, batches.raw, batches.router]
    routers += [events.router, dead.router, queues.router, deliveries.router, public.probes, public.pages]
    if reports.KIND in registry:
        routers += reports.report_routers(registry[reports.KIND])
    routers.append(unknown)
    return cast(list[JobRoute], [route for router in routers for route in router.routes])
