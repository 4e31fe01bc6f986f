"""The options of the memoizer, checked when they are given."""

from __future__ import annotations

import os
from collections.abc import Sequence

from treadle.errors import ConfigurationError

MODES = (None, "task_exit", "periodic", "dfk_exit", "manual")
DURABILITIES = ("process", "power")
MEMO_FILES = ("url", "content")

#: Between two checkpoints of the mode 'periodic'.
DEFAULT_PERIOD_S = 30 * 60.0


def check_choice(name: str, value: object, allowed: Sequence[object]) -> None:
    """Refuse what is not among the allowed values.

    Raises:
        ConfigurationError: says what is allowed.
    """
    if not any(value is choice or value == choice for choice in allowed):
        choices = ", ".join(repr(choice) for choice in allowed)
        raise ConfigurationError(f"{name}={value!r} is not allowed; it is one of {choices}")


def check_checkpoint_files(files: object) -> None:
    """Refuse what is not a list of directories.

    Raises:
        ConfigurationError: says what is allowed.
    """
    if files is None:
        return
    if isinstance(files, (str, bytes, os.PathLike)) or not isinstance(files, Sequence):
        raise ConfigurationError(
            f"checkpoint_files={files!r} is not allowed; it is a list of checkpoint directories, "
            f"such as get_all_checkpoints() returns"
        )
    for file in files:
        if not isinstance(file, (str, os.PathLike)):
            raise ConfigurationError(
                f"checkpoint_files has {file!r}; its elements are paths of checkpoint directories"
            )


def period_in_seconds(period: object) -> float:
    """The seconds that a checkpoint_period stands for.

    Raises:
        ConfigurationError: says what is allowed.
    """
    if period is None:
        return DEFAULT_PERIOD_S
    seconds: float | None = None
    if isinstance(period, str):
        fields = period.split(":")
        if len(fields) == 3 and all(field.isascii() and field.isdigit() for field in fields):
            hours, minutes, rest = map(int, fields)
            seconds = 3600.0 * hours + 60.0 * minutes + rest
    elif isinstance(period, (int, float)) and not isinstance(period, bool):
        seconds = float(period)
    if seconds is None or not 0 < seconds < float("inf"):
        raise ConfigurationError(
            f"checkpoint_period={period!r} is not allowed; it is 'HH:MM:SS' or a number of "
            f"seconds, more than zero"
        )
    return seconds


def check_bytes(name: str, value: object) -> None:
    """Refuse what is not a number of bytes.

    Raises:
        ConfigurationError: says what is allowed.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ConfigurationError(f"{name}={value!r} is not allowed; it is a number of bytes")
