"""Providers: who starts blocks, asks how they are, and ends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from treadle.providers.provider_base import ExecutionProvider, JobState, JobStatus

if TYPE_CHECKING:
    from treadle.providers.local import LocalProvider

__all__ = ["ExecutionProvider", "JobState", "JobStatus", "LocalProvider"]

#: What is loaded when it is first used, and where it is: an executor without blocks needs none.
_LATER = {"LocalProvider": "treadle.providers.local"}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - see above

    value = globals()[name] = getattr(import_module(_LATER[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
