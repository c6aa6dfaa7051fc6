"""One file for each contestant: the API that is put under load. Each runs in its own environment.

All have the same two routes: ``POST /jobs/noop`` with an ``Order`` is answered by 202 and the job's id, and
``GET /jobs/{job_id}`` by the job's state. Ours is ``python -m arqway.service`` as it is; its file has the jobs only.
"""

from pydantic import BaseModel

PATH = "/jobs/noop"


class Order(BaseModel):
    """The payload of every job."""

    name: str
    n: int = 0


class State(BaseModel):
    """The answer of the contestants that have no other of their own."""

    id: str
    state: str
