"""The one table of problems: which exception is answered how, what it means, and what a client can do about it.

The pages at ``/problems`` and docs/problems.md are made from this table. Code is set in backquotes.
"""

from collections.abc import Mapping

from fastapi.exceptions import RequestValidationError

from arqway.service.problems import errors as http
from arqway.service.problems.kinds import ProblemKind
from arqway.workers.contract import errors as jobs

_ROWS: Mapping[type[Exception], ProblemKind] = {
    http.NotJson: ProblemKind(
        400,
        "Body is not JSON",
        "The body is not JSON in UTF-8, or there is none.",
        "Send JSON. `NaN` and `Infinity`, which some libraries write, are none.",
    ),
    http.InvalidIdempotencyKey: ProblemKind(
        400,
        "Idempotency-Key cannot be used",
        "The header `Idempotency-Key` is no string of 1 to 255 visible characters, or was sent more than once.",
        "Send one key, in quotation marks or without. A random UUID is a good one.",
    ),
    jobs.InvalidCursor: ProblemKind(
        400,
        "Cursor cannot be used",
        "The cursor was not given by this list, or was given for another filter.",
        "Send `next` of the page before as it came, with the same filter; or no cursor, to begin again.",
    ),
    http.InvalidEventId: ProblemKind(
        400,
        "Last-Event-ID cannot be used",
        "The header `Last-Event-ID`, or the parameter `last_event_id`, is the id of no event of this stream.",
        "Send the id of the last event as it came; or none, to follow from the beginning.",
    ),
    http.MalformedRequest: ProblemKind(
        400,
        "Request is not HTTP",
        "What was sent is not HTTP/1.1. The connection is closed.",
        "Mend the client, or the proxy in front of the service.",
    ),
    http.Unauthenticated: ProblemKind(
        401,
        "An API key is needed",
        "No API key came with the request, or one that is unknown, revoked or expired; `WWW-Authenticate` tells which.",
        "Send a key that can be used, as `Authorization: Bearer arqway_…`. The operator makes keys.",
    ),
    http.InsufficientScope: ProblemKind(
        403,
        "API key does not allow this",
        "The API key can be used, but not for this; `WWW-Authenticate` names the scope that it lacks.",
        "Send a key that has the scope. The operator makes keys.",
    ),
    http.ForeignOrigin: ProblemKind(
        403,
        "Page of another site",
        "The service asks for no keys, and a browser sent this for a page of another site.",
        "Call from a page of this machine, or let the operator name the page's origin in `ARQWAY_CORS_ORIGINS`.",
    ),
    http.RemoteCaller: ProblemKind(
        403,
        "Client is not on this machine",
        "The routes were mounted without `caller=` and without keys, and the client is on another machine.",
        "Let the owner of the application pass `caller=` to `arqway.router()`, or set `ARQWAY_AUTH=keys`.",
    ),
    jobs.JobNotFound: ProblemKind(
        404,
        "No such job",
        "No job of the key's tenant has this id, or its retention is over.",
        "Check the id, and whose key it is. An ended job is kept for `ARQWAY_RETENTION_S`, so read it before.",
    ),
    jobs.BatchNotFound: ProblemKind(
        404,
        "No such batch",
        "No batch of the key's tenant has this id, or the retention of its jobs is over.",
        "Check the id, and whose key it is. An ended batch is kept for `ARQWAY_RETENTION_S`, so read it before.",
    ),
    jobs.UnknownKind: ProblemKind(
        404,
        "No such kind of job",
        "No job of this kind is registered with the service.",
        "Check the kind: `/openapi.json` has a route for each. A newer service may know it, while an upgrade goes on.",
    ),
    http.ReportUnavailable: ProblemKind(
        404,
        "No report file",
        "The report's job did not succeed, or the file was deleted since.",
        "Read the report's state for the reason, and submit the report again.",
    ),
    http.RequestTimeout: ProblemKind(
        408,
        "Request took too long to arrive",
        "The request was not complete within its time limit. The connection is closed.",
        "Send it again, faster; a batch may be sent in parts.",
        retry=True,
    ),
    jobs.DuplicateJob: ProblemKind(
        409,
        "Job exists already",
        "A job with this id was accepted before.",
        "Read that job, or submit with another id.",
    ),
    jobs.JobFinished: ProblemKind(
        409,
        "Job has finished",
        "The job has ended, so that it cannot be cancelled any more.",
        "Read the job. There is nothing left to cancel.",
    ),
    jobs.JobNotFinished: ProblemKind(
        409,
        "Job has not finished",
        "The job has not ended yet, and only an ended one can be submitted again.",
        "Wait for its end, or cancel it first.",
        retry=True,
    ),
    http.JobNotSucceeded: ProblemKind(
        409,
        "Job has no result",
        "The job has no result: it has not ended yet, or it failed or was cancelled.",
        "Read the job. Its state tells whether a result may still come.",
        retry=True,
    ),
    jobs.JobRetried: ProblemKind(
        409,
        "Job was retried already",
        "The job was submitted again before; `job_id` is the new one.",
        "Follow the new job. If that has ended, too, submit that one again.",
    ),
    jobs.NotUnique: ProblemKind(
        409,
        "Unique key is taken",
        "A job of this kind with this unique key has not ended yet; `job_id` is its id.",
        "Follow that job, or submit once it has ended.",
        retry=True,
    ),
    jobs.IdempotencyHeld: ProblemKind(
        409,
        "First request is not answered yet",
        "The first request with this `Idempotency-Key` is still being answered.",
        "Send the same request again after `Retry-After`, and get the first one's answer.",
        retry=True,
    ),
    http.ReportNotReady: ProblemKind(
        409,
        "Report is not finished",
        "The report is still being made.",
        "Ask again after `Retry-After`, or follow the report's state.",
        retry=True,
        retry_after_s=1,
    ),
    jobs.JobChanged: ProblemKind(
        412,
        "Job has changed",
        "The job is no longer as `If-Match` says: it has moved on since it was read.",
        "Read the job, decide anew, and send its new `ETag`.",
    ),
    http.BodyTooLarge: ProblemKind(
        413,
        "Body too large",
        "The body is larger than `ARQWAY_MAX_BODY_BYTES`.",
        "Send less: a payload may say where large data lies, and a batch may be sent in parts.",
    ),
    http.UnsupportedMediaType: ProblemKind(
        415,
        "Body is not declared as JSON",
        "The body is not declared as JSON, so that a browser might have sent it for any page without asking.",
        "Send the header `Content-Type: application/json`.",
    ),
    http.ForeignHost: ProblemKind(
        421,
        "Not a name of this service",
        "The service asks for no keys, and the header `Host` names neither this machine nor a host that is trusted.",
        "Call it as `localhost`, or let the operator add the name to `ARQWAY_TRUSTED_HOSTS`.",
    ),
    http.UnsupportedJson: ProblemKind(
        422,
        "JSON is ambiguous or out of bounds",
        "The body is JSON that readers understand differently: an object has a name twice, "
        "a number is out of bounds, or it is nested too deeply.",
        "Send what every reader takes alike, as RFC 7493 says; large numbers as strings.",
    ),
    jobs.InvalidPayload: ProblemKind(
        422,
        "Payload does not fit",
        "The payload does not fit the schema of its kind, or the body that of its route; `errors` names the parts.",
        "Mend those parts. The schema is in `/openapi.json`.",
    ),
    RequestValidationError: ProblemKind(
        422,
        "Request does not fit",
        "A parameter or a header does not fit; `errors` names it.",
        "Mend it. What is allowed is in `/openapi.json`.",
    ),
    jobs.InvalidSubmission: ProblemKind(
        422,
        "Job cannot be accepted",
        "The job cannot be accepted with these options, such as a deadline before its start; `detail` tells why.",
        "Mend the option.",
    ),
    jobs.QueueNotAllowed: ProblemKind(
        422,
        "Queue is not the kind's",
        "Jobs of this kind do not go to the queue that was asked for.",
        "Ask for one of the queues in `detail`, or for none.",
    ),
    jobs.CallbacksOff: ProblemKind(
        422,
        "Callbacks are off",
        "A `callback_url` was given, and the service cannot sign callbacks.",
        "Leave it out and follow the job, or let the operator set `ARQWAY_WEBHOOK_SECRETS`.",
    ),
    jobs.BatchRefused: ProblemKind(
        422,
        "Batch cannot be accepted",
        "None of its jobs can be accepted or, in an `atomic` batch, not all of them; "
        "`items` tells which, and why. Nothing was accepted.",
        "Mend those jobs, or leave them out; or send the batch without `atomic`.",
    ),
    jobs.IdempotencyMismatch: ProblemKind(
        422,
        "Idempotency-Key came with another request",
        "This `Idempotency-Key` came with another request before.",
        "Use a new key for a new request, and the same key only for the very same request.",
    ),
    http.RateLimited: ProblemKind(
        429,
        "Too many requests",
        "There were more requests with this API key than its rate allows.",
        "Wait for as long as `Retry-After` says. `RateLimit` tells with each answer how many are left.",
        retry=True,
    ),
    http.HeadersTooLarge: ProblemKind(
        431,
        "Head of the request too large",
        "The head of the request is larger than `ARQWAY_MAX_HEADER_BYTES`. The connection is closed.",
        "Send a shorter address, and fewer or shorter headers.",
    ),
    http.ServiceBusy: ProblemKind(
        503,
        "Service holds as much as it may",
        "The service holds as many connections or bodies as it may.",
        "Send it again after `Retry-After`, over fewer connections.",
        retry=True,
        retry_after_s=5,
    ),
    http.TooManyStreams: ProblemKind(
        503,
        "Too many event streams",
        "The service has as many event streams open as it may.",
        "Open it again after `Retry-After`. One stream of all jobs, or of a batch, does for many streams of jobs.",
        retry=True,
        retry_after_s=5,
    ),
    jobs.StoreUnavailable: ProblemKind(
        503,
        "Job store does not answer",
        "Redis does not answer. Whether a submission was accepted is not known.",
        "Send it again after `Retry-After`. With an `Idempotency-Key`, a submission cannot be accepted twice.",
        retry=True,
        retry_after_s=1,
    ),
    jobs.QueueFull: ProblemKind(
        503,
        "Queue takes no more for now",
        "Too many jobs wait in the queue, or they wait for too long.",
        "Submit again after `Retry-After`, which is an estimate of when there is room.",
        retry=True,
        retry_after_s=5,
    ),
    http.ReportStoreUnavailable: ProblemKind(
        503,
        "Report store does not answer",
        "The store of finished reports does not answer.",
        "Ask for the file again after `Retry-After`.",
        retry=True,
        retry_after_s=5,
    ),
    jobs.WaitTimeout: ProblemKind(
        504,
        "Job has not finished in time",
        "The job had not ended when the time to wait was over. It goes on.",
        "Ask again.",
        retry=True,
    ),
}
PROBLEMS = {error: kind.named_after(error) for error, kind in _ROWS.items()}
UNEXPECTED = ProblemKind(
    500,
    "Internal error",
    "The service made a mistake. Its log has it under the answer's `X-Request-ID`.",
    "Tell the operator that id. Whether the request has done anything is not known.",
    slug="internal-error",
)
KINDS = sorted([*PROBLEMS.values(), UNEXPECTED], key=lambda kind: (kind.status, kind.slug))
