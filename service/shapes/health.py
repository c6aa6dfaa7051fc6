"""Probes."""

from typing import Literal

from typing_extensions import TypedDict


class HealthView(TypedDict):
    """What a probe learns."""

    status: Literal["ok"]
