"""The options that every provider has, checked together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from treadle.errors import BadLauncher, ConfigurationError
from treadle.launchers.base import check_launcher


def check_provider(provider: Any, *, whole: Sequence[str] = ()) -> None:
    """Raise for options of a provider that cannot be; the text names all of them.

    Args:
        whole: more options that are whole numbers of at least 1.

    Raises:
        ConfigurationError: of numbers.
        BadLauncher: what is given as a launcher is none.
    """
    wrong = list(_wrong_numbers(provider, whole))
    if wrong:
        raise ConfigurationError(f"{type(provider).__name__}: {'; '.join(wrong)}")
    launcher = getattr(provider, "launcher", None)
    if launcher is not None:
        try:
            check_launcher(launcher)
        except BadLauncher as error:
            raise BadLauncher(f"{type(provider).__name__}: {error}") from None


def _wrong_numbers(provider: Any, whole: Sequence[str]) -> Iterator[str]:
    counts: dict[str, int] = {}
    least = {"init_blocks": 0, "min_blocks": 0, "max_blocks": 0, "nodes_per_block": 1}
    for name, lowest in {**least, **dict.fromkeys(whole, 1)}.items():
        value = getattr(provider, name)
        if type(value) is not int or value < lowest:
            yield f"{name}={value!r}: a whole number of at least {lowest}"
        else:
            counts[name] = value
    parallelism = provider.parallelism
    if (
        isinstance(parallelism, bool)
        or not isinstance(parallelism, (int, float))
        or not parallelism >= 0
    ):
        yield f"parallelism={parallelism!r}: a number of at least 0"
    most = counts.get("max_blocks")
    for name in ("min_blocks", "init_blocks"):
        if most is not None and counts.get(name, 0) > most:
            yield f"{name}={counts[name]} is more than max_blocks={most}"
