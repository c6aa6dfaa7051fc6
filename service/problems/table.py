"""The table of problems: how each exception is reported, what it means, and what a client can do about it.

The pages at ``/problems`` and docs/problems.md are generated from this table.
"""

import re
from typing import Any, NamedTuple

from fastapi.exceptions import RequestValidationError

from arqway.service.problems import errors as http
from arqway.service.shapes.jobs import EXAMPLE_ID
from arqway.service.shapes.problems import Problem
from arqway.workers.contract import errors as jobs

TYPE_PREFIX = "urn:arqway:problem:"

# Three lines a problem: status, exception and title; the meaning; the remedy.
# "retry" says that the same request may succeed later; "after", in how many seconds, for the header Retry-After.
_TABLE = """\
400 NotJson: Body is not JSON
    The body is missing, or is not JSON in UTF-8.
    Send JSON. `NaN` and `Infinity`, which some libraries write, are not JSON.
400 InvalidIdempotencyKey: Invalid Idempotency-Key
    The `Idempotency-Key` header is not a string of 1 to 255 visible characters, or was sent more than once.
    Send one key, with or without quotation marks. A random UUID works well.
400 InvalidCursor: Invalid cursor
    The cursor does not come from this list, or comes from a list with another filter.
    Send `next` of the previous page unchanged, with the same filter; or omit the cursor to start again.
400 InvalidEventId: Invalid Last-Event-ID
    The `Last-Event-ID` header or the `last_event_id` parameter is not the id of an event of this stream.
    Send the id of the last event unchanged, or omit it to follow from the beginning.
400 MalformedRequest: Request is not HTTP
    The request is not valid HTTP/1.1. The connection is closed.
    Fix the client, or the proxy in front of the service.
401 Unauthenticated: An API key is needed
    The API key is missing, unknown, revoked or expired; `WWW-Authenticate` shows whether one was sent.
    Send a valid key as `Authorization: Bearer arqway_…`. Ask the operator for one.
403 InsufficientScope: API key does not allow this
    The API key is valid, but does not permit this; `WWW-Authenticate` names the missing scope.
    Send a key that has the scope. Ask the operator for one.
403 ForeignOrigin: Request from another site
    The service requires no keys, and a browser sent this request for a web page of another site.
    Call from a page on this machine, or ask the operator to add the page's origin to `ARQWAY_CORS_ORIGINS`.
403 RemoteCaller: Client is not on this machine
    The routes are mounted without `caller=` and without keys, and the client is on another machine.
    Ask the owner of the application to pass `caller=` to `arqway.router()`, or to set `ARQWAY_AUTH=keys`.
404 JobNotFound: No such job
    No job of the key's tenant has this id, or its retention period is over.
    Check the id and the key's tenant. A finished job is kept for `ARQWAY_RETENTION_S`; read it before that.
404 BatchNotFound: No such batch
    No batch of the key's tenant has this id, or the retention period of its jobs is over.
    Check the id and the key's tenant. A finished batch is kept for `ARQWAY_RETENTION_S`; read it before that.
404 UnknownKind: No such kind of job
    No job of this kind is registered with the service.
    Check the kind: `/openapi.json` has a route for each. During an upgrade, only newer processes may know it.
404 ReportUnavailable: No report file
    The report's job did not succeed, or the file has been deleted.
    Read the report's state for the reason, and submit the report again.
408 RequestTimeout, retry: Request took too long to arrive
    The request did not arrive completely within the time limit. The connection is closed.
    Send the request again, faster. A batch may be sent in parts.
409 DuplicateJob: Job already exists
    A job with this id has already been accepted.
    Read that job, or submit the job with another id.
409 JobFinished: Job has finished
    The job has finished, so it can no longer be cancelled.
    Read the job. There is nothing left to cancel.
409 JobNotFinished, retry: Job has not finished
    The job has not finished yet, and only a finished job can be resubmitted.
    Wait until it has finished, or cancel it first.
409 JobNotSucceeded, retry: Job has no result
    The job has no result: it has not finished yet, or it failed or was cancelled.
    Read the job. Its state shows whether it may still produce a result.
409 JobRetried: Job has already been retried
    The job has already been resubmitted; `job_id` is the id of the new job.
    Follow the new job. If that has finished, too, retry that one.
409 NotUnique, retry: Unique key is taken
    A job of this kind with this unique key has not finished yet; `job_id` is its id.
    Follow that job, or submit again once it has finished.
409 IdempotencyHeld, retry: First request is still in progress
    The first request with this `Idempotency-Key` is still in progress.
    Send the same request again after `Retry-After` to get the response to the first one.
409 ReportNotReady, retry after 1 s: Report is not finished
    The report is still being generated.
    Ask again after `Retry-After`, or follow the report's state.
412 JobChanged: Job has changed
    The job no longer matches `If-Match`: it has changed since it was read.
    Read the job, decide again, and send its new `ETag`.
413 BodyTooLarge: Body too large
    The body is larger than `ARQWAY_MAX_BODY_BYTES`.
    Send less: a payload can refer to large data instead of containing it, and a batch may be sent in parts.
415 UnsupportedMediaType: Body is not declared as JSON
    The body is not declared as JSON. A browser may send such a body for any web page without a preflight.
    Send the header `Content-Type: application/json`.
421 ForeignHost: Host name not allowed
    The service requires no keys, and the `Host` header names neither this machine nor a trusted host.
    Call the service as `localhost`, or ask the operator to add the name to `ARQWAY_TRUSTED_HOSTS`.
422 UnsupportedJson: JSON is ambiguous or out of bounds
    Parsers would interpret the body differently: duplicate names, numbers out of bounds, or nesting too deep.
    Send I-JSON (RFC 7493), which all parsers interpret in the same way, with large numbers as strings.
422 InvalidPayload: Invalid payload
    The payload does not match the schema of its kind, or the body that of its route; `errors` lists where.
    Correct the listed parts. The schema is in `/openapi.json`.
422 InvalidRequest: Invalid request
    A parameter or header is invalid; `errors` names it.
    Correct it. `/openapi.json` describes what is allowed.
422 InvalidSubmission: Job cannot be accepted
    The job cannot be accepted with these options, such as a deadline before its start; `detail` explains why.
    Correct the option.
422 QueueNotAllowed: Queue not allowed for this kind
    Jobs of this kind may not be submitted to the requested queue.
    Request one of the queues in `detail`, or none.
422 CallbacksOff: Callbacks are off
    A `callback_url` was given, but the service has no secret to sign callbacks with.
    Omit it and follow the job, or ask the operator to set `ARQWAY_WEBHOOK_SECRETS`.
422 BatchRefused: Batch cannot be accepted
    Some jobs of an `atomic` batch, or all jobs of another, cannot be accepted; `items` lists why. Nothing was accepted.
    Correct or remove those jobs, or send the batch without `atomic`.
422 IdempotencyMismatch: Idempotency-Key already used
    This `Idempotency-Key` has already been used for a different request.
    Use a new key for each new request, and reuse a key only to repeat the identical request.
429 RateLimited, retry: Too many requests
    More requests were sent with this API key than its rate allows.
    Wait for the time in `Retry-After`. The `RateLimit` header of each response shows how many requests are left.
431 HeadersTooLarge: Request head too large
    The head of the request is larger than `ARQWAY_MAX_HEADER_BYTES`. The connection is closed.
    Send a shorter URL, and fewer or shorter headers.
503 ServiceBusy, retry after 5 s: Service is at capacity
    The service has reached its limit of open connections or of request bodies in memory.
    Send the request again after `Retry-After`, over fewer connections.
503 TooManyStreams, retry after 5 s: Too many event streams
    The service has reached its limit of open event streams.
    Open the stream again after `Retry-After`. One stream of all jobs or of a batch replaces many of single jobs.
503 StoreUnavailable, retry after 1 s: Job store does not answer
    Redis does not answer. It is not known whether a submission was accepted.
    Send the request again after `Retry-After`. With an `Idempotency-Key`, a submission is not accepted twice.
503 QueueFull, retry after 5 s: Queue is full
    Too many jobs are waiting in the queue, or they have been waiting for too long.
    Submit again after `Retry-After`, which is an estimate of when there will be room.
503 ReportStoreUnavailable, retry after 5 s: Report store does not answer
    The store of finished reports does not answer.
    Request the file again after `Retry-After`.
504 WaitTimeout, retry: Job has not finished in time
    The job did not finish within the time to wait. The job continues.
    Read the job, or wait for it again.
500 InternalError: Internal error
    The service has a bug. Its log has the details under the `X-Request-ID` of the response.
    Report that id to the operator. It is not known whether the request had any effect.
"""
_HEAD = re.compile(r"(\d+) (\w+)(, retry(?: after (\d+) s)?)?: (.+)")
_FIELD = {"loc": ["body", "user_id"], "type": "int_type", "msg": "Input should be a valid integer"}
_MEMBERS: dict[str, Any] = {
    "invalid-payload": {"errors": [_FIELD]},
    "invalid-request": {"errors": [{**_FIELD, "loc": ["query", "delay"], "type": "float_parsing"}]},
    "not-unique": {"job_id": EXAMPLE_ID},
    "job-retried": {"job_id": EXAMPLE_ID},
    "batch-refused": {"items": [{"index": 1, "code": "unknown_kind", "detail": "No job of this kind is registered."}]},
}


class ProblemKind(NamedTuple):
    """A problem type: how all problems of the type are reported and explained."""

    slug: str
    """The last part of the type, from the name of the exception: ``JobNotFound`` becomes ``job-not-found``."""
    status: int
    title: str
    meaning: str
    """When it happens. Code is set in backquotes."""
    remedy: str
    """What the client can do. Code is set in backquotes."""
    retry: bool
    """Whether the same request may succeed later."""
    retry_after_s: int | None
    """Seconds until then, for ``Retry-After``; None if they are unknown, or only the exception knows them."""

    @property
    def uri(self) -> str:
        """The ``type`` of these problems; it never changes."""
        return TYPE_PREFIX + self.slug

    @property
    def code(self) -> str:
        """The slug with underscores, for programs to compare; it never changes."""
        return self.slug.replace("-", "_")

    def problem(self, detail: str) -> Problem:
        """Return the members that all problems of this kind share."""
        return {"type": self.uri, "title": self.title, "status": self.status, "detail": detail, "code": self.code}

    def example(self) -> Problem:
        """Return a problem of this kind, for documentation."""
        return {**self.problem(f"{self.title}."), **_MEMBERS.get(self.slug, {})}


def _read(row: str) -> tuple[str, ProblemKind]:
    """Return the name of the exception, and the kind."""
    head, meaning, remedy = row.split("\n    ")
    status, name, retry, after_s, title = _HEAD.fullmatch(head).groups()  # type: ignore[union-attr]
    slug = re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()
    return name, ProblemKind(slug, int(status), title, meaning, remedy, bool(retry), int(after_s) if after_s else None)


_BY_NAME = dict(map(_read, re.split(r"\n(?=\d)", _TABLE.rstrip())))
_ERRORS: dict[str, type[Exception]] = {**vars(jobs), **vars(http), "InvalidRequest": RequestValidationError}
UNEXPECTED = _BY_NAME["InternalError"]
PROBLEMS = {_ERRORS[name]: kind for name, kind in _BY_NAME.items() if kind is not UNEXPECTED}
KINDS = sorted(_BY_NAME.values(), key=lambda kind: (kind.status, kind.slug))
