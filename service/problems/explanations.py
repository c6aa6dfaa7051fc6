"""What each type of problem means and what a client can do about it: for the pages at ``/problems``.

``docs/problems.md`` has the same texts, in their Markdown; a test compares them.
"""

from collections.abc import Mapping
from typing import NamedTuple


class Explanation(NamedTuple):
    """What a problem means, in words; code is set in backquotes."""

    meaning: str
    """When it happens."""
    remedy: str
    """What the client can do."""
    retry: bool = False
    """Whether the same request may succeed later."""


EXPLANATIONS: Mapping[str, Explanation] = {
    "not-json": Explanation(
        "The body is not JSON in UTF-8, or there is none.",
        "Send JSON. `NaN` and `Infinity`, which some libraries write, are none.",
    ),
    "invalid-idempotency-key": Explanation(
        "The header `Idempotency-Key` is no string of 1 to 255 visible characters, or was sent more than once.",
        "Send one key, in quotation marks or without. A random UUID is a good one.",
    ),
    "invalid-cursor": Explanation(
        "The cursor was not given by this list, or was given for another filter.",
        "Send `next` of the page before as it came, with the same filter; or no cursor, to begin again.",
    ),
    "invalid-event-id": Explanation(
        "The header `Last-Event-ID`, or the parameter `last_event_id`, is the id of no event of this stream.",
        "Send the id of the last event as it came; or none, to follow from the beginning.",
    ),
    "malformed-request": Explanation(
        "What was sent is not HTTP/1.1. The connection is closed.",
        "Mend the client, or the proxy in front of the service.",
    ),
    "unauthenticated": Explanation(
        "No API key came with the request, or one that is unknown, revoked or expired; `WWW-Authenticate` tells which.",
        "Send a key that can be used, as `Authorization: Bearer arqway_…`. The operator makes keys.",
    ),
    "insufficient-scope": Explanation(
        "The API key can be used, but not for this; `WWW-Authenticate` names the scope that it lacks.",
        "Send a key that has the scope. The operator makes keys.",
    ),
    "foreign-origin": Explanation(
        "The service asks for no keys, and a browser sent this for a page of another site.",
        "Call from a page of this machine, or let the operator name the page's origin in `ARQWAY_CORS_ORIGINS`.",
    ),
    "job-not-found": Explanation(
        "No job of the key's tenant has this id, or its retention is over.",
        "Check the id, and whose key it is. An ended job is kept for `ARQWAY_RETENTION_S`, so read it before.",
    ),
    "batch-not-found": Explanation(
        "No batch of the key's tenant has this id, or the retention of its jobs is over.",
        "Check the id, and whose key it is. An ended batch is kept for `ARQWAY_RETENTION_S`, so read it before.",
    ),
    "unknown-kind": Explanation(
        "No job of this kind is registered with the service.",
        "Check the kind: `/openapi.json` has a route for each. A newer service may know it, while an upgrade goes on.",
    ),
    "report-unavailable": Explanation(
        "The report's job did not succeed, or the file was deleted since.",
        "Read the report's state for the reason, and submit the report again.",
    ),
    "request-timeout": Explanation(
        "The request was not complete within its time limit. The connection is closed.",
        "Send it again, faster; a batch may be sent in parts.",
        retry=True,
    ),
    "duplicate-job": Explanation(
        "A job with this id was accepted before.",
        "Read that job, or submit with another id.",
    ),
    "job-finished": Explanation(
        "The job has ended, so that it cannot be cancelled any more.",
        "Read the job. There is nothing left to cancel.",
    ),
    "job-not-finished": Explanation(
        "The job has not ended yet, and only an ended one can be submitted again.",
        "Wait for its end, or cancel it first.",
        retry=True,
    ),
    "job-not-succeeded": Explanation(
        "The job has no result: it has not ended yet, or it failed or was cancelled.",
        "Read the job. Its state tells whether a result may still come.",
        retry=True,
    ),
    "job-retried": Explanation(
        "The job was submitted again before; `job_id` is the new one.",
        "Follow the new job. If that has ended, too, submit that one again.",
    ),
    "not-unique": Explanation(
        "A job of this kind with this unique key has not ended yet; `job_id` is its id.",
        "Follow that job, or submit once it has ended.",
        retry=True,
    ),
    "idempotency-held": Explanation(
        "The first request with this `Idempotency-Key` is still being answered.",
        "Send the same request again after `Retry-After`, and get the first one's answer.",
        retry=True,
    ),
    "report-not-ready": Explanation(
        "The report is still being made.",
        "Ask again after `Retry-After`, or follow the report's state.",
        retry=True,
    ),
    "job-changed": Explanation(
        "The job is no longer as `If-Match` says: it has moved on since it was read.",
        "Read the job, decide anew, and send its new `ETag`.",
    ),
    "body-too-large": Explanation(
        "The body is larger than `ARQWAY_MAX_BODY_BYTES`.",
        "Send less: a payload may say where large data lies, and a batch may be sent in parts.",
    ),
    "unsupported-media-type": Explanation(
        "The body is not declared as JSON, so that a browser might have sent it for any page without asking.",
        "Send the header `Content-Type: application/json`.",
    ),
    "foreign-host": Explanation(
        "The service asks for no keys, and the header `Host` names neither this machine nor a host that is trusted.",
        "Call it as `localhost`, or let the operator add the name to `ARQWAY_TRUSTED_HOSTS`.",
    ),
    "unsupported-json": Explanation(
        "The body is JSON that readers understand differently: an object has a name twice, a number is out of bounds, "
        "or it is nested too deeply.",
        "Send what every reader takes alike, as RFC 7493 says; large numbers as strings.",
    ),
    "invalid-payload": Explanation(
        "The payload does not fit the schema of its kind, or the body that of its route; `errors` names the parts.",
        "Mend those parts. The schema is in `/openapi.json`.",
    ),
    "invalid-request": Explanation(
        "A parameter or a header does not fit; `errors` names it.",
        "Mend it. What is allowed is in `/openapi.json`.",
    ),
    "invalid-submission": Explanation(
        "The job cannot be accepted with these options, such as a deadline before its start; `detail` tells why.",
        "Mend the option.",
    ),
    "queue-not-allowed": Explanation(
        "Jobs of this kind do not go to the queue that was asked for.",
        "Ask for one of the queues in `detail`, or for none.",
    ),
    "callbacks-off": Explanation(
        "A `callback_url` was given, and the service cannot sign callbacks.",
        "Leave it out and follow the job, or let the operator set `ARQWAY_WEBHOOK_SECRETS`.",
    ),
    "batch-refused": Explanation(
        "None of its jobs can be accepted or, in an `atomic` batch, not all of them; `items` tells which, and why. "
        "Nothing was accepted.",
        "Mend those jobs, or leave them out; or send the batch without `atomic`.",
    ),
    "idempotency-mismatch": Explanation(
        "This `Idempotency-Key` came with another request before.",
        "Use a new key for a new request, and the same key only for the very same request.",
    ),
    "rate-limited": Explanation(
        "There were more requests with this API key than its rate allows.",
        "Wait for as long as `Retry-After` says. `RateLimit` tells with each answer how many are left.",
        retry=True,
    ),
    "headers-too-large": Explanation(
        "The head of the request is larger than `ARQWAY_MAX_HEADER_BYTES`. The connection is closed.",
        "Send a shorter address, and fewer or shorter headers.",
    ),
    "service-busy": Explanation(
        "The service holds as many connections or bodies as it may.",
        "Send it again after `Retry-After`, over fewer connections.",
        retry=True,
    ),
    "too-many-streams": Explanation(
        "The service has as many event streams open as it may.",
        "Open it again after `Retry-After`. One stream of all jobs, or of a batch, does for many streams of jobs.",
        retry=True,
    ),
    "store-unavailable": Explanation(
        "Redis does not answer. Whether a submission was accepted is not known.",
        "Send it again after `Retry-After`. With an `Idempotency-Key`, a submission cannot be accepted twice.",
        retry=True,
    ),
    "queue-full": Explanation(
        "Too many jobs wait in the queue, or they wait for too long.",
        "Submit again after `Retry-After`, which is an estimate of when there is room.",
        retry=True,
    ),
    "report-store-unavailable": Explanation(
        "The store of finished reports does not answer.",
        "Ask for the file again after `Retry-After`.",
        retry=True,
    ),
    "wait-timeout": Explanation(
        "The job had not ended when the time to wait was over. It goes on.",
        "Ask again.",
        retry=True,
    ),
    "internal-error": Explanation(
        "The service made a mistake. Its log has it under the answer's `X-Request-ID`.",
        "Tell the operator that id. Whether the request has done anything is not known.",
    ),
}
"""By slug. Each type of problem is here: a test compares it with the table in ``service.problems.errors``."""
