"""The exceptions of apps, under the path where programs look for them."""

from __future__ import annotations

from treadle.errors import (
    AppBadFormatting,
    AppException,
    AppTimeout,
    BadStdStreamFile,
    BashAppNoReturn,
    BashExitFailure,
    MissingOutputs,
    ParslError,
    TaskCallError,
    TreadleError,
)

__all__ = [
    "AppBadFormatting",
    "AppException",
    "AppTimeout",
    "BadStdStreamFile",
    "BashAppNoReturn",
    "BashExitFailure",
    "MissingOutputs",
    "ParslError",
    "TaskCallError",
    "TreadleError",
]
