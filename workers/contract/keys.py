"""All Redis keys, as functions. No other Python module builds a key; the Lua scripts use the same prefixes.

=========================  ======  ==========================================  ==============================
key                        type    holds                                       lives until
=========================  ======  ==========================================  ==============================
``arq:queue[:name]``       zset    job id → due, or lease end if running (ms)  empty
``arq:job:{id}``           string  the envelope (JSON, arq's own fields)       the job is settled for good
``arq:in-progress:{id}``   string  when the lease ends (ms)                    that time
``arq:result:{id}``        string  the result as arq writes it (JSON)          ``keep_result``
``arq:abort``              zset    id → ms, requested by stock arq clients     the job is settled
``job:{id}``               hash    the record: ``workers.contract.record``     ``retention`` after the end
``job-events:{id}``        stream  ``workers.contract.events``, capped         with the record
``job-steps:{id}``         hash    step name → result (JSON)                   with the record
``wake:{queue key}``       list    tokens that wake idle workers, capped       a claim finds nothing due
``worker:{id}``            hash    its state: ``workers.contract.worker``      three beats after the last
``workers``                zset    worker id → its last heartbeat (ms)         three beats after the last
``feed:{tenant}``          stream  events of all its jobs, about 2,000 writes  an hour after the last
``batch:{id}``             hash    a batch: its counts                         ``retention`` after its end
``batch-jobs:{id}``        zset    job id → place in the batch                 with the batch
``unique:{t}:{k}:{key}``   string  id of the job that holds the key            that job is final
``idempotency:{digest}``   hash    the answer to a request                     ``idempotency_s``
``jobs:{s}:{t}:{q}:{k}``   zset    job id → accepted (ms): a list of jobs      empty, or ``retention``
``live-lists:{tenant}``    set     queues and kinds of its live jobs           empty
``ended-lists:{tenant}``   zset    state, queue, kind → last record's end (ms) ``retention``
``tag:{tenant}:{tag}``     zset    id of a live job → accepted (ms)            empty
``ended-tag:{t}:{tag}``    zset    id of an ended job → accepted (ms)          ``retention``
``list-ends``              zset    list, ids of ended jobs → records' end (ms) ``retention``
``dead:{tenant}:{print}``  zset    id of a failed job → failed (ms)            ``retention``
``dead-groups:{tenant}``   zset    fingerprint → latest failure (ms)           ``retention``
``paused-queues``          hash    queue → paused since (ms)                   none is paused
``running-jobs``           hash    queue → number of running jobs              none is running
``queue-rates:{m}:{q}``    hash    counts of the minute's events               two hours
``run-times``              hash    kind → usual run time (ms)                  30 days after the last
``api-key:{id}``           hash    ``workers.contract.api_key``                90 days after its end
``api-keys``               zset    id of an API key → created (ms)             empty
``rate-limit:{bucket}``    string  when the bucket is full again (µs)          that time
``audit``                  stream  actions of operators, about 10,000 entries  deleted by hand
=========================  ======  ==========================================  ==============================

Next to each queue is arq's health record, ``{queue key}:health-check``, which lives for twice its interval.

``arq:*`` names are those of arq 0.28 (``arq/constants.py``). Job ids come last in every key, so that no id, however
odd, can collide with another job's key.
"""

import functools
import re

DEFAULT_QUEUE = "default"
QUEUE_PREFIX = "arq:queue"
ENVELOPE_PREFIX = "arq:job:"
LEASE_PREFIX = "arq:in-progress:"
ARQ_RESULT_PREFIX = "arq:result:"
ARQ_ABORT = "arq:abort"
RECORD_PREFIX = "job:"
EVENTS_PREFIX = "job-events:"
STEPS_PREFIX = "job-steps:"
WAKE_PREFIX = "wake:"
WORKER_PREFIX = "worker:"
WORKERS = "workers"
FEED_PREFIX = "feed:"
BATCH_PREFIX = "batch:"
BATCH_JOBS_PREFIX = "batch-jobs:"
UNIQUE_PREFIX = "unique:"
IDEMPOTENCY_PREFIX = "idempotency:"
LISTS_PREFIX = "jobs:"
TAG_PREFIX = "tag:"
ENDED_TAG_PREFIX = "ended-tag:"
LIVE_LISTS_PREFIX = "live-lists:"
ENDED_LISTS_PREFIX = "ended-lists:"
LIST_ENDS = "list-ends"
DEAD_PREFIX = "dead:"
DEAD_GROUPS_PREFIX = "dead-groups:"
PAUSED_QUEUES = "paused-queues"
RUNNING_JOBS = "running-jobs"
RATES_PREFIX = "queue-rates:"
RUN_TIMES = "run-times"
API_KEY_PREFIX = "api-key:"
API_KEYS = "api-keys"
RATE_LIMIT_PREFIX = "rate-limit:"
AUDIT = "audit"

DEFAULT_TENANT = "default"
"""Tenant of jobs submitted without one: by Python code using Redis directly, stock arq, or a service without keys."""
WEBHOOK_QUEUE = "webhooks"
WEBHOOK_KIND = "webhook.deliver"

CANCEL_CHANNEL = "job-cancel"
"""Pub/sub channel: ``{token} {id}`` of each attempt whose cancellation is requested."""

_QUEUE_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:~-]{0,127}")
_TENANT = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/@+~-]{0,127}")
_FOREIGN = "="


def is_queue_name(name: str) -> bool:
    """Return whether ``name`` is a valid queue name."""
    return bool(_QUEUE_NAME.fullmatch(name)) and name != "health-check"  # arq keeps its health record at that key


def is_job_id(job_id: str) -> bool:
    """Return whether ``job_id`` is a valid job id: 1 to 128 of ``A-Za-z0-9_.:~-``."""
    return bool(JOB_ID.fullmatch(job_id))


def is_tenant_name(name: str) -> bool:
    """Return whether ``name`` is a valid tenant name: 1 to 63 of ``a-z0-9_-``."""
    return bool(_TENANT.fullmatch(name))


def is_word(text: str) -> bool:
    """Return whether ``text`` is a valid tag or unique key: 1 to 128 of ``A-Za-z0-9_.:/@+~-``."""
    return bool(WORD.fullmatch(text))


@functools.lru_cache(maxsize=1024)
def queue(name: str) -> str:
    """Zset: job id → when it may next be claimed (ms)."""
    if name.startswith(_FOREIGN):
        return name.removeprefix(_FOREIGN)
    return QUEUE_PREFIX if name == DEFAULT_QUEUE else f"{QUEUE_PREFIX}:{name}"


def queue_of(key: str) -> str:
    """Return the name of the queue at ``key``; ``={key}`` if stock arq was configured with an unrelated key."""
    if key == QUEUE_PREFIX:
        return DEFAULT_QUEUE
    name = key.removeprefix(f"{QUEUE_PREFIX}:")
    return name if name != key else f"{_FOREIGN}{key}"


def wake(name: str) -> str:
    """List: wake-up tokens of a queue."""
    return WAKE_PREFIX + queue(name)


def worker(worker_id: str) -> str:
    """Hash: a worker's state."""
    return WORKER_PREFIX + worker_id


def record(job_id: str) -> str:
    """Hash: the job's record."""
    return RECORD_PREFIX + job_id


def events(job_id: str) -> str:
    """Stream: the job's events."""
    return EVENTS_PREFIX + job_id


def steps(job_id: str) -> str:
    """Hash: results of the job's finished steps."""
    return STEPS_PREFIX + job_id


def envelope(job_id: str) -> str:
    """String: kind and payload, as arq stores them."""
    return ENVELOPE_PREFIX + job_id


def lease(job_id: str) -> str:
    """String: when the lease of the running attempt ends (ms)."""
    return LEASE_PREFIX + job_id


def arq_result(job_id: str) -> str:
    """String: the result, as stock arq clients read it."""
    return ARQ_RESULT_PREFIX + job_id


def feed(tenant: str) -> str:
    """Stream: events of all jobs of a tenant."""
    return FEED_PREFIX + tenant


def batch_jobs(batch_id: str) -> str:
    """Zset: ids of the jobs of a batch."""
    return BATCH_JOBS_PREFIX + batch_id
