"""Calls, results and exceptions as bytes that any process can read."""

from __future__ import annotations

from treadle.serialize._buffers import Packed, pack, unpack
from treadle.serialize._failure import PackedException, pack_exception, unpack_exception
from treadle.serialize._packed import Outcome, PackedCall, unwrap_outcome
from treadle.serialize._pickling import dumps, loads
from treadle.serialize._spec import CallSpec, decode_spec, encode_spec
from treadle.serialize._unpicklable import dumps_call, dumps_result, find_unpicklable

__all__ = [
    "CallSpec",
    "Outcome",
    "Packed",
    "PackedCall",
    "PackedException",
    "decode_spec",
    "dumps",
    "dumps_call",
    "dumps_result",
    "encode_spec",
    "find_unpicklable",
    "loads",
    "pack",
    "pack_exception",
    "unpack",
    "unpack_exception",
    "unwrap_outcome",
]
