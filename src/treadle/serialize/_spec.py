"""A task's call as it travels: which function, by its digest, and its arguments in bytes."""

from __future__ import annotations

import msgspec
from msgspec import Struct


class CallSpec(Struct, frozen=True, array_like=True, gc=False):
    """What stands in `run_spec`. `digest`: of the function (a `wire.Code` of it was sent before);
    empty: the function is in the payload. `payload`: a pickle of (args, kwargs), or of (function,
    args, kwargs); a reference in it to another task's result is a persistent id, the task's
    identifier. `name`: for people, where there is no code that has one. `writable`: large inputs
    are private copy-on-write maps, not read-only.."""

    digest: bytes
    payload: bytes
    name: str = ""
    writable: bool = False


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(CallSpec)


def encode_spec(spec: CallSpec) -> bytes:
    """The spec as bytes."""
    return _ENCODER.encode(spec)


def decode_spec(data: bytes) -> CallSpec:
    """The spec in these bytes.

    Raises:
        msgspec.ValidationError: there is none.
    """
    return _DECODER.decode(data)
