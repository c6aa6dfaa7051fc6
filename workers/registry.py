"""The registry: the jobs that a service accepts and a worker runs."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from types import MappingProxyType
from typing import Any

from arqway.workers.contract.errors import ConfigurationError, UnknownKind
from arqway.workers.definition import JobDefinition

OpenResources = Callable[[], AbstractAsyncContextManager[Any]]


def no_resources() -> AbstractAsyncContextManager[None]:
    """Return a context manager that opens no resources."""
    return nullcontext()


class Registry(Mapping[str, JobDefinition[Any, Any]]):
    """The jobs that a service accepts and a worker runs, by kind.

    Args:
        jobs: The job definitions; each kind may occur only once.
        resources: Opens ``ctx.resources``, once per worker process; never called by the service.
        needs: Packages that the jobs import at run time, each mapped to the ``pip`` requirement that provides it.
            The commands report a missing one and refuse to start.
    """

    def __init__(
        self,
        jobs: Iterable[JobDefinition[Any, Any]],
        *,
        resources: OpenResources = no_resources,
        needs: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._jobs: dict[str, JobDefinition[Any, Any]] = {}
        self.open_resources = resources
        self.needs = needs
        for definition in jobs:
            if not isinstance(definition, JobDefinition):
                raise ConfigurationError(f"a registry lists jobs defined with @job, and {definition!r} is none")
            if definition.kind in self._jobs:
                raise ConfigurationError(f"two jobs have the kind {definition.kind!r}")
            self._jobs[definition.kind] = definition

    def __getitem__(self, kind: str) -> JobDefinition[Any, Any]:
        return self._jobs[kind]

    def find(self, kind: str) -> JobDefinition[Any, Any]:
        """Return the definition of a kind. Raises UnknownKind."""
        try:
            return self._jobs[kind]
        except KeyError:
            raise UnknownKind from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._jobs)

    def __len__(self) -> int:
        return len(self._jobs)
