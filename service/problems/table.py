"""The table of problems: how each exception is reported, what it means, and what a client can do about it.

The pages at ``/problems`` and docs/problems.md are generated from this table. Code is set in backquotes.
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
        "The body is missing, or is not JSON in UTF-8.",
        "Send JSON. `NaN` and `Infinity`, which some libraries write, are not JSON.",
    ),
    http.InvalidIdempotencyKey: ProblemKind(
        400,
        "Invalid Idempotency-Key",
        "The `Idempotency-Key` header is not a string of 1 to 255 visible characters, or was sent more than once.",
        "Send one key, with or without quotation marks. A random UUID works well.",
    ),
    jobs.InvalidCursor: ProblemKind(
        400,
        "Invalid cursor",
        "The cursor does not come from this list, or comes from a list with another filter.",
        "Send `next` of the previous page unchanged, with the same filter; or omit the cursor to start again.",
    ),
    http.InvalidEventId: ProblemKind(
        400,
        "Invalid Last-Event-ID",
        "The `Last-Event-ID` header or the `last_event_id` parameter is not the id of an event of this stream.",
        "Send the id of the last event unchanged, or omit it to follow from the beginning.",
    ),
    http.MalformedRequest: ProblemKind(
        400,
        "Request is not HTTP",
        "The request is not valid HTTP/1.1. The connection is closed.",
        "Fix the client, or the proxy in front of the service.",
    ),
    http.Unauthenticated: ProblemKind(
        401,
        "An API key is needed",
        "The API key is missing, unknown, revoked or expired; `WWW-Authenticate` shows whether one was sent.",
        "Send a valid key as `Authorization: Bearer arqway_…`. Ask the operator for one.",
    ),
    http.InsufficientScope: ProblemKind(
        403,
        "API key does not allow this",
        "The API key is valid, but does not permit this; `WWW-Authenticate` names the missing scope.",
        "Send a key that has the scope. Ask the operator for one.",
    ),
    http.ForeignOrigin: ProblemKind(
        403,
        "Request from another site",
        "The service requires no keys, and a browser sent this request for a web page of another site.",
        "Call from a page on this machine, or ask the operator to add the page's origin to `ARQWAY_CORS_ORIGINS`.",
    ),
    http.RemoteCaller: ProblemKind(
        403,
        "Client is not on this machine",
        "The routes are mounted without `caller=` and without keys, and the client is on another machine.",
        "Ask the owner of the application to pass `caller=` to `arqway.router()`, or to set `ARQWAY_AUTH=keys`.",
    ),
    jobs.JobNotFound: ProblemKind(
        404,
        "No such job",
        "No job of the key's tenant has this id, or its retention period is over.",
        "Check the id and the key's tenant. A finished job is kept for `ARQWAY_RETENTION_S`; read it before that.",
    ),
    jobs.BatchNotFound: ProblemKind(
        404,
        "No such batch",
        "No batch of the key's tenant has this id, or the retention period of its jobs is over.",
        "Check the id and the key's tenant. A finished batch is kept for `ARQWAY_RETENTION_S`; read it before that.",
    ),
    jobs.UnknownKind: ProblemKind(
        404,
        "No such kind of job",
        "No job of this kind is registered with the service.",
        "Check the kind: `/openapi.json` has a route for each. During an upgrade, only newer processes may know it.",
    ),
    http.ReportUnavailable: ProblemKind(
        404,
        "No report file",
        "The report's job did not succeed, or the file has been deleted.",
        "Read the report's state for the reason, and submit the report again.",
    ),
    http.RequestTimeout: ProblemKind(
        408,
        "Request took too long to arrive",
        "The request did not arrive completely within the time limit. The connection is closed.",
        "Send the request again, faster. A batch may be sent in parts.",
        retry=True,
    ),
    jobs.DuplicateJob: ProblemKind(
        409,
        "Job already exists",
        "A job with this id has already been accepted.",
        "Read that job, or submit the job with another id.",
    ),
    jobs.JobFinished: ProblemKind(
        409,
        "Job has finished",
        "The job has finished, so it can no longer be cancelled.",
        "Read the job. There is nothing left to cancel.",
    ),
    jobs.JobNotFinished: ProblemKind(
        409,
        "Job has not finished",
        "The job has not finished yet, and only a finished job can be resubmitted.",
        "Wait until it has finished, or cancel it first.",
        retry=True,
    ),
    http.JobNotSucceeded: ProblemKind(
        409,
        "Job has no result",
        "The job has no result: it has not finished yet, or it failed or was cancelled.",
        "Read the job. Its state shows whether it may still produce a result.",
        retry=True,
    ),
    jobs.JobRetried: ProblemKind(
        409,
        "Job has already been retried",
        "The job has already been resubmitted; `job_id` is the id of the new job.",
        "Follow the new job. If that has finished, too, retry that one.",
    ),
    jobs.NotUnique: ProblemKind(
        409,
        "Unique key is taken",
        "A job of this kind with this unique key has not finished yet; `job_id` is its id.",
        "Follow that job, or submit again once it has finished.",
        retry=True,
    ),
    jobs.IdempotencyHeld: ProblemKind(
        409,
        "First request is still in progress",
        "The first request with this `Idempotency-Key` is still in progress.",
        "Send the same request again after `Retry-After` to get the response to the first one.",
        retry=True,
    ),
    http.ReportNotReady: ProblemKind(
        409,
        "Report is not finished",
        "The report is still being generated.",
        "Ask again after `Retry-After`, or follow the report's state.",
        retry=True,
        retry_after_s=1,
    ),
    jobs.JobChanged: ProblemKind(
        412,
        "Job has changed",
        "The job no longer matches `If-Match`: it has changed since it was read.",
        "Read the job, decide again, and send its new `ETag`.",
    ),
    http.BodyTooLarge: ProblemKind(
        413,
        "Body too large",
        "The body is larger than `ARQWAY_MAX_BODY_BYTES`.",
        "Send less: a payload can refer to large data instead of containing it, and a batch may be sent in parts.",
    ),
    http.UnsupportedMediaType: ProblemKind(
        415,
        "Body is not declared as JSON",
        "The body is not declared as JSON. A browser may send such a body for any web page without a preflight.",
        "Send the header `Content-Type: application/json`.",
    ),
    http.ForeignHost: ProblemKind(
        421,
        "Host name not allowed",
        "The service requires no keys, and the `Host` header names neither this machine nor a trusted host.",
        "Call the service as `localhost`, or ask the operator to add the name to `ARQWAY_TRUSTED_HOSTS`.",
    ),
    http.UnsupportedJson: ProblemKind(
        422,
        "JSON is ambiguous or out of bounds",
        "Parsers would interpret the body differently: an object has a duplicate name, "
        "a number is out of bounds, or the nesting is too deep.",
        "Send I-JSON (RFC 7493), which all parsers interpret in the same way, with large numbers as strings.",
    ),
    jobs.InvalidPayload: ProblemKind(
        422,
        "Invalid payload",
        "The payload does not match the schema of its kind, or the body that of its route; `errors` lists where.",
        "Correct the listed parts. The schema is in `/openapi.json`.",
    ),
    RequestValidationError: ProblemKind(
        422,
        "Invalid request",
        "A parameter or header is invalid; `errors` names it.",
        "Correct it. `/openapi.json` describes what is allowed.",
    ),
    jobs.InvalidSubmission: ProblemKind(
        422,
        "Job cannot be accepted",
        "The job cannot be accepted with these options, such as a deadline before its start; `detail` explains why.",
        "Correct the option.",
    ),
    jobs.QueueNotAllowed: ProblemKind(
        422,
        "Queue not allowed for this kind",
        "Jobs of this kind may not be submitted to the requested queue.",
        "Request one of the queues in `detail`, or none.",
    ),
    jobs.CallbacksOff: ProblemKind(
        422,
        "Callbacks are off",
        "A `callback_url` was given, but the service has no secret to sign callbacks with.",
        "Omit it and follow the job, or ask the operator to set `ARQWAY_WEBHOOK_SECRETS`.",
    ),
    jobs.BatchRefused: ProblemKind(
        422,
        "Batch cannot be accepted",
        "None of its jobs can be accepted or, in an `atomic` batch, not all of them; "
        "`items` lists which, and why. Nothing was accepted.",
        "Correct or remove those jobs, or send the batch without `atomic`.",
    ),
    jobs.IdempotencyMismatch: ProblemKind(
        422,
        "Idempotency-Key already used",
        "This `Idempotency-Key` has already been used for a different request.",
        "Use a new key for each new request, and reuse a key only to repeat the identical request.",
    ),
    http.RateLimited: ProblemKind(
        429,
        "Too many requests",
        "More requests were sent with this API key than its rate allows.",
        "Wait for the time in `Retry-After`. The `RateLimit` header of each response shows how many requests are left.",
        retry=True,
    ),
    http.HeadersTooLarge: ProblemKind(
        431,
        "Request head too large",
        "The head of the request is larger than `ARQWAY_MAX_HEADER_BYTES`. The connection is closed.",
        "Send a shorter URL, and fewer or shorter headers.",
    ),
    http.ServiceBusy: ProblemKind(
        503,
        "Service is at capacity",
        "The service has reached its limit of open connections or of request bodies in memory.",
        "Send the request again after `Retry-After`, over fewer connections.",
        retry=True,
        retry_after_s=5,
    ),
    http.TooManyStreams: ProblemKind(
        503,
        "Too many event streams",
        "The service has reached its limit of open event streams.",
        "Open the stream again after `Retry-After`. One stream of all jobs or of a batch replaces many of single jobs.",
        retry=True,
        retry_after_s=5,
    ),
    jobs.StoreUnavailable: ProblemKind(
        503,
        "Job store does not answer",
        "Redis does not answer. It is not known whether a submission was accepted.",
        "Send the request again after `Retry-After`. With an `Idempotency-Key`, a submission is not accepted twice.",
        retry=True,
        retry_after_s=1,
    ),
    jobs.QueueFull: ProblemKind(
        503,
        "Queue is full",
        "Too many jobs are waiting in the queue, or they have been waiting for too long.",
        "Submit again after `Retry-After`, which is an estimate of when there will be room.",
        retry=True,
        retry_after_s=5,
    ),
    http.ReportStoreUnavailable: ProblemKind(
        503,
        "Report store does not answer",
        "The store of finished reports does not answer.",
        "Request the file again after `Retry-After`.",
        retry=True,
        retry_after_s=5,
    ),
    jobs.WaitTimeout: ProblemKind(
        504,
        "Job has not finished in time",
        "The job did not finish within the time to wait. The job continues.",
        "Read the job, or wait for it again.",
        retry=True,
    ),
}
PROBLEMS = {error: kind.named_after(error) for error, kind in _ROWS.items()}
UNEXPECTED = ProblemKind(
    500,
    "Internal error",
    "The service has a bug. Its log has the details under the `X-Request-ID` of the response.",
    "Report that id to the operator. It is not known whether the request had any effect.",
    slug="internal-error",
)
KINDS = sorted([*PROBLEMS.values(), UNEXPECTED], key=lambda kind: (kind.status, kind.slug))
