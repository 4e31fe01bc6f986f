"""Tokens of values without parts.

A token is a byte string that delimits itself, so that tokens can be joined without two different
sequences giving the same bytes. Two values have the same token if and only if they are of the
same type and the same value: `1`, `True` and `1.0` differ, `-0.0` and `0.0` differ, and any NaN
is every other NaN.
"""

from __future__ import annotations

import datetime
import decimal
import fractions
import pathlib
import re
import struct
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

#: Bytes of a whole digest, and of one that a record keeps for explanations.
DIGEST_SIZE = 32
SHORT_SIZE = 8
#: Longer contents stand as their digest.
_INLINE = 512

_pack_double = struct.Struct(">d").pack
_NAN = _pack_double(float("nan"))

Scalar = Callable[[Any], bytes]


def digest(data: bytes) -> bytes:
    """BLAKE2b-256."""
    return blake2b(data, digest_size=DIGEST_SIZE).digest()


def short(token: bytes) -> bytes:
    """Eight bytes that stand for a token where only equality is asked."""
    return blake2b(token, digest_size=SHORT_SIZE).digest()


def blob(tag: bytes, data: Any) -> bytes:
    """A token of bytes, or of a buffer of bytes, of any length; the tag says what they are."""
    size = len(data)
    if size <= _INLINE:
        return b"%b%x:%b" % (tag, size, data)
    return b"%b^%b" % (tag, blake2b(data, digest_size=DIGEST_SIZE).digest())


def text(tag: bytes, value: str) -> bytes:
    """A token of a string; surrogates that stand alone are kept apart, too."""
    return blob(tag, value.encode("utf-8", "surrogatepass"))


def _bool(value: bool) -> bytes:
    return b"T" if value else b"F"


def _int(value: int) -> bytes:
    # Hexadecimal: linear in its length, and without the limit that decimals have.
    return b"i%x;" % value


def _double(value: float) -> bytes:
    return _pack_double(value) if value == value else _NAN


def _float(value: float) -> bytes:
    return b"f" + _double(value)


def _complex(value: complex) -> bytes:
    return b"c" + _double(value.real) + _double(value.imag)


def _str(value: str) -> bytes:
    return text(b"s", value)


def _range(value: range) -> bytes:
    # Ranges of the same numbers are equal, whatever was written for their ends.
    size = len(value)
    first = value[0] if size else 0
    step = value.step if size > 1 else 1
    return b"r%x,%x,%x;" % (size, first, step)


def _path(value: pathlib.PurePath) -> bytes:
    return text(b"p", str(value))


#: Types whose values are one token each, by exact type.
SCALARS: dict[type, Scalar] = {
    type(None): lambda _: b"N",
    type(...): lambda _: b"E",
    type(NotImplemented): lambda _: b"I",
    bool: _bool,
    int: _int,
    float: _float,
    complex: _complex,
    str: _str,
    bytes: lambda value: blob(b"b", value),
    bytearray: lambda value: blob(b"y", value),
    range: _range,
    pathlib.PosixPath: _path,
    pathlib.PurePosixPath: _path,
    pathlib.WindowsPath: _path,
    pathlib.PureWindowsPath: _path,
}

#: Exact types of which `repr` is canonical, so that a list of them is one token made in C.
PLAIN = frozenset({type(None), bool, int, float, str, bytes})

#: Exact types whose values never change, so that their identity vouches for their digest.
FROZEN = frozenset(SCALARS) - {bytearray} | {
    datetime.date,
    datetime.datetime,
    datetime.time,
    datetime.timedelta,
    datetime.timezone,
    decimal.Decimal,
    fractions.Fraction,
    re.Pattern,
}
