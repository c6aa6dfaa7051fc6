"""What tests of the store hand to it: jobs without a definition, and how their attempts end."""

from arqway.workers.contract.record import Failure
from arqway.workers.contract.states import JobState
from arqway.workers.store.attempts import Claim, Rest, Settlement
from arqway.workers.store.jobs import Extras, Submission

RETENTION_MS = 600_000


def submission(job_id: str, tenant: str, kind: str, queue: str, delay_ms: int, more: Extras) -> Submission:
    """Return a job of a kind that nobody defines."""
    envelope = b'{"f":"%b","a":[{}],"k":{},"et":1}' % kind.encode()
    return Submission(job_id, kind, queue, envelope, 3, 0, delay_ms, tenant, more or None)


def settlement(claim: Claim, state: JobState, delay_ms: int, fingerprint: str) -> Settlement:
    """Return an attempt's end in `state`; the failure's text names another fingerprint, which must not count."""
    rest: Rest = {}
    if state in {JobState.FAILED, JobState.RETRYING}:
        rest["failure"] = Failure(
            "exception", "It failed.", detail='"fingerprint": "f0"', fingerprint=fingerprint
        ).to_json()
        rest["event"] = '{"code": "exception", "message": "It failed."}'
    if state is JobState.FAILED:
        rest["fingerprint"] = fingerprint
    if state is JobState.QUEUED:
        rest |= {"back": 1, "interrupts": 1}
    elif state is JobState.RETRYING:
        rest["delay"] = delay_ms
    return Settlement(claim.id, claim.token, claim.queue, state, RETENTION_MS, rest=rest)
