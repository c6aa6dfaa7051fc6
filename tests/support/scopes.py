"""What each route needs, as the contract promises it: the tests compare the service and the documentation with this."""

import re
from collections.abc import Mapping

from arqway.workers.contract.api_key import Scope

SCOPES: Mapping[tuple[str, str], Scope] = {
    ("POST", "/jobs/{kind}"): Scope.SUBMIT,
    ("POST", "/jobs:batch"): Scope.SUBMIT,
    ("POST", "/jobs/{job_id}:cancel"): Scope.SUBMIT,
    ("POST", "/batches/{batch_id}:cancel"): Scope.SUBMIT,
    ("POST", "/reports"): Scope.SUBMIT,
    ("GET", "/jobs"): Scope.READ,
    ("GET", "/jobs/{job_id}"): Scope.READ,
    ("GET", "/jobs/{job_id}/result"): Scope.READ,
    ("GET", "/jobs/{job_id}/attempts"): Scope.READ,
    ("GET", "/jobs/{job_id}/waiting"): Scope.READ,
    ("GET", "/jobs/{job_id}/events"): Scope.READ,
    ("GET", "/jobs/{job_id}/deliveries"): Scope.READ,
    ("GET", "/events"): Scope.READ,
    ("GET", "/batches/{batch_id}"): Scope.READ,
    ("GET", "/batches/{batch_id}/events"): Scope.READ,
    ("GET", "/reports/{task_id}"): Scope.READ,
    ("GET", "/reports/{task_id}/file"): Scope.READ,
    ("POST", "/jobs/{job_id}:retry"): Scope.OPERATE,
    ("POST", "/jobs/{job_id}/deliveries:redeliver"): Scope.OPERATE,
    ("POST", "/batches/{batch_id}:retry-failed"): Scope.OPERATE,
    ("GET", "/dead"): Scope.OPERATE,
    ("POST", "/dead:redrive"): Scope.OPERATE,
    ("GET", "/queues"): Scope.OPERATE,
    ("POST", "/queues/{name}:pause"): Scope.OPERATE,
    ("POST", "/queues/{name}:resume"): Scope.OPERATE,
    ("GET", "/workers"): Scope.OPERATE,
}
"""What each route needs; a HEAD needs what its GET does. The row of ``/jobs/{kind}`` is for the routes of all kinds."""

PUBLIC = frozenset(
    {"/livez", "/readyz", "/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc", "/problems", "/problems/{slug}"}
)
"""Routes that need no key: probes and documentation."""


def scope_of(method: str, path: str) -> Scope:
    """Return what the route with this method and path template needs; the names of parameters do not matter."""
    shape = "/jobs/{}" if _OF_A_KIND.fullmatch(path) and method == "POST" else _shape(path)
    return _BY_SHAPE.get(("GET" if method == "HEAD" else method, shape), Scope.OPERATE)


def _shape(path: str) -> str:
    return re.sub(r"\{\w+\}", "{}", path)


_OF_A_KIND = re.compile(r"/jobs/[^/:{}]+")
_BY_SHAPE = {(method, _shape(path)): scope for (method, path), scope in SCOPES.items()}
