"""Values of options, and what is said of those that are none."""

from __future__ import annotations

import argparse
import math

from treadle.cluster._resources import bytes_of


def size(text: str) -> int:
    """Bytes: '2 GB', '512MiB', or a number of MB.

    Raises:
        argparse.ArgumentTypeError: it is no size.
    """
    try:
        found = bytes_of(text if not _is_number(text) else float(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: {error}") from None
    return found


def seconds(text: str) -> float:
    """A time of 0 s or more.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not _is_number(text) or not 0 <= float(text) <= 1e10:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, 0 or more")
    return float(text)


def count(text: str) -> int:
    """A number from 1 on.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or not 1 <= int(text) < 2**31:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def share(text: str) -> float:
    """A number above 0.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not _is_number(text) or not 0 < float(text) <= 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return float(text)


def ports(text: str) -> tuple[int, int]:
    """A port, or a range of them as 'LOW:HIGH'.

    Raises:
        argparse.ArgumentTypeError: it is neither.
    """
    low, _, high = text.partition(":")
    numbers = (low, high or low)
    if not all(n.isdecimal() and 0 < int(n) < 65536 for n in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is no port from 1 to 65535, nor LOW:HIGH")
    if int(numbers[0]) > int(numbers[1]):
        raise argparse.ArgumentTypeError(f"{text!r} begins above its end")
    return int(numbers[0]), int(numbers[1])


def amount(text: str) -> tuple[str, float]:
    """An amount of something, as 'NAME=NUMBER'.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    name, equals, number = text.partition("=")
    if not (name and equals and _is_number(number)) or float(number) < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER, such as licence=2")
    return name, float(number)


def setting(text: str) -> tuple[str, str]:
    """A variable of the environment, as 'NAME=VALUE'.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
