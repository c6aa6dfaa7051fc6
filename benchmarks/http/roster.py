"""Who is put under load: how each API is started. All run in one process of uvicorn, on uvloop and httptools."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.roster import PEERS, Contestant

_APPS = "benchmarks.http.apps"
_WEB = ("fastapi", "uvicorn", "uvloop", "httptools")


@dataclass(frozen=True, kw_only=True)
class Api(Contestant):
    """One way to offer jobs over HTTP."""

    start: tuple[str, ...]
    """Program of its environment and arguments; its port is in ``UVICORN_PORT`` and ``ARQWAY_PORT``."""
    keyed: bool = False
    """Whether it wants a key with each request."""

    @property
    def programs(self) -> Path:
        """The folder of its environment's programs; it has a web framework, which the worker's of that name has not."""
        return PEERS / f"http-{self.module.rpartition('.')[2]}" / "bin" if self.packages else super().programs


def _on_uvicorn(name: str, module: str, versions: str, packages: str = "") -> Api:
    app = f"{_APPS}.{module}:app"
    options = "--host 127.0.0.1 --loop uvloop --http httptools --no-access-log --log-level warning"
    return Api(
        name=name,
        module=f"{_APPS}.{module}",
        worker=(),
        drain=0,
        versions=(*versions.split(), *_WEB),
        packages=(*packages.split(), *_WEB) if packages else (),
        start=("uvicorn", app, *options.split()),
    )


def _ours(name: str, *, keyed: bool = False) -> Api:
    return Api(
        name=name,
        module=f"{_APPS}.arqway",
        worker=("python", "-m", "arqway.workers"),
        drain=0,
        versions=("arqway", "redis", "hiredis", "pydantic", *_WEB),
        settings={
            "ARQWAY_JOBS": f"{_APPS}.arqway:JOBS",
            "ARQWAY_ACCESS_LOG": "false",
            "ARQWAY_AUTH": "keys" if keyed else "off",
        },
        start=("python", "-m", "arqway.service"),
        keyed=keyed,
    )


BARE = _on_uvicorn("FastAPI alone", "bare", "pydantic")
ARQWAY = _ours("Arqway")
ARQWAY_KEYED = _ours("Arqway, with API keys", keyed=True)
CELERY = _on_uvicorn(
    "FastAPI and Celery, the tutorial's way", "celery", "celery redis hiredis", "celery[redis] hiredis"
)
STOCK_ARQ = _on_uvicorn("FastAPI and arq", "stock_arq", "arq redis hiredis")
SAQ = _on_uvicorn("FastAPI and SAQ", "saq", "saq redis hiredis", "saq[redis,hiredis] typing_extensions")

APIS = (BARE, ARQWAY, ARQWAY_KEYED, CELERY, STOCK_ARQ, SAQ)
