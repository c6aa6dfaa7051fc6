"""The lists of the documentation, and what each is compared with in the code."""

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from typing import get_type_hints

from arqway.service.app import create_app
from arqway.service.problems.table import PROBLEMS, TYPE_PREFIX, UNEXPECTED
from arqway.service.settings import ServiceSettings
from arqway.service.shapes.jobs import JobView
from arqway.workers.contract import keys
from arqway.workers.contract.record import RECORD_FIELDS
from arqway.workers.contract.states import TERMINAL_STATES, TRANSITIONS
from arqway.workers.jobs import JOBS
from arqway.workers.jobs.report.settings import ReportSettings
from arqway.workers.settings import Settings
from tests.support.docs import (
    ARCHITECTURE,
    CONTRACT,
    DECISIONS,
    OPERATIONS,
    ROOT,
    blocks,
    defaults,
    edges,
    first_names,
    names,
    project,
    rows,
)
from tests.support.scopes import PUBLIC, SCOPES

Comparison = tuple[Iterable[object], Iterable[object]]


def _fields_of_the_record() -> Comparison:
    return first_names(rows(CONTRACT, "Record")), [*RECORD_FIELDS, "token", "envelope"]


def _names_of_keys() -> Comparison:
    named = {
        value for name, value in vars(keys).items() if name.isupper() and name[0] != "_" and isinstance(value, str)
    }
    others = {"arq:queue:", "arq:queue:health-check"}
    listed = (name.partition("{")[0] for name in first_names(rows(CONTRACT, "Keys")))
    values = {keys.DEFAULT_QUEUE, keys.DEFAULT_TENANT, keys.WEBHOOK_QUEUE, keys.WEBHOOK_KIND}
    return listed, named - values | others


def _failure_codes() -> Comparison:
    code = "".join(path.read_text() for path in (ROOT / "workers" / "runners").glob("*.py"))
    return first_names(rows(CONTRACT, "Failure codes")), set(re.findall(r"(?:Failure|refused)\(\s*\"([a-z_]+)\"", code))


def _problems() -> Comparison:
    listed = [(row[0], *names(row[1]), *names(row[2])) for row in rows(CONTRACT, "Problems")]
    return listed, [(str(kind.status), kind.code, TYPE_PREFIX + kind.slug) for kind in [*PROBLEMS.values(), UNEXPECTED]]


def _routes() -> Comparison:
    settings = ServiceSettings.model_validate({"redis_url": "redis://127.0.0.1:1"})
    tables = [*rows(CONTRACT, "HTTP: jobs"), *rows(CONTRACT, "HTTP: reports")]
    listed = [name for name in first_names(tables) if re.match(r"[A-Z]+ /", name)]
    paths = create_app(settings, JOBS).openapi()["paths"]
    served = [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]
    general = [call.replace("/jobs/report.generate", "/jobs/{kind}") for call in served]
    return [re.sub(r"\{\w+\}", "{}", call) for call in listed], [re.sub(r"\{\w+\}", "{}", call) for call in general]


def _shape(call: str) -> str:
    return re.sub(r"\{\w+\}", "{}", call)


def _scopes() -> Comparison:
    table = {row[0].strip("`"): names(row[1]) for row in rows(CONTRACT, "HTTP: who may call")}
    public = table.pop("none")
    listed = [(scope, _shape(call)) for scope, calls in table.items() for call in calls]
    own = [(str(scope), _shape(f"{method} {path}")) for (method, path), scope in SCOPES.items()]
    return [*listed, *public], [*own, *PUBLIC]


def _parts_of_a_job() -> Comparison:
    listed = first_names(rows(CONTRACT, "HTTP: jobs"))
    return [name for name in listed if name.isidentifier()], get_type_hints(JobView)


def _moves() -> Comparison:
    moves = {(before.value, after.value) for before, states in TRANSITIONS.items() for after in states}
    begins, ends = {("[*]", "scheduled"), ("[*]", "queued")}, {(state.value, "[*]") for state in TERMINAL_STATES}
    (diagram,) = [block for block in blocks(ARCHITECTURE, "mermaid") if block.startswith("stateDiagram")]
    return edges(diagram), moves | begins | ends


def _dependencies() -> Comparison:
    required, extras = project()["project"]["dependencies"], project()["project"]["optional-dependencies"]
    listed = first_names(rows(f"{DECISIONS}0007-dependencies.md", "Decision"))
    return map(_bare, set(listed) - set(extras)), map(_bare, chain(required, *extras.values()))


def _bare(requirement: str) -> str:
    return re.split(r"[^\w-]", requirement)[0]


def _settings() -> Comparison:
    own = {**defaults(Settings), **defaults(ServiceSettings), **defaults(ReportSettings)}
    own |= {
        "ARQWAY_REPORT_DATABASE_URL": "sqlite+aiosqlite:///{home}/arqway.db",
        "ARQWAY_REPORT_STORE_URL": "file://{home}/reports",
    }
    tables = [row for title in ("Service and worker", "Service", "The report job") for row in rows(OPERATIONS, title)]
    return [(names(row[0])[0], row[1].strip("`")) for row in tables], own.items()


LISTS: Mapping[str, Callable[[], Comparison]] = {
    "fields of the record": _fields_of_the_record,
    "keys": _names_of_keys,
    "failure codes": _failure_codes,
    "problems": _problems,
    "routes": _routes,
    "scopes": _scopes,
    "parts of a job": _parts_of_a_job,
    "legal moves": _moves,
    "dependencies": _dependencies,
    "settings": _settings,
}
"""What the pages list, and how to get it from the page and from the code."""
