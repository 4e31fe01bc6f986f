"""What can be said of a function's key before its arguments are known, remembered."""

from __future__ import annotations

import platform
import sys
import weakref
from collections import OrderedDict
from hashlib import blake2b
from threading import Lock
from typing import TYPE_CHECKING, Any

from treadle.dataflow.memo._callables import module_of
from treadle.dataflow.memo._code import code_facts
from treadle.dataflow.memo._guard import Guard
from treadle.dataflow.memo._reach import Reach
from treadle.dataflow.memo._scalars import DIGEST_SIZE, digest, short, text
from treadle.dataflow.memo._scope import Part, Scope
from treadle.dataflow.memo._signature import Signature

if TYPE_CHECKING:
    from types import FunctionType

    from treadle.dataflow.memo._catalogue import Catalogue

#: Raised whenever the same call would get another key than before.
SCHEMA_VERSION = 1

#: Part of every key: bytecode and pickles mean something for one minor version only.
PYTHON = f"{platform.python_implementation()} {sys.version_info[0]}.{sys.version_info[1]}"
_PREFIX = text(b"treadle memo %d " % SCHEMA_VERSION, PYTHON)

_MAX_PLANS = 512


class Plan:
    """The fixed parts of a function's keys, and how to make the others.

    Args:
        function: what a call runs.
        tag: what else tells this kind of call from others.
    """

    def __init__(self, catalogue: Catalogue, function: FunctionType, tag: bytes) -> None:
        self._root = weakref.ref(function)
        self._code = function.__code__
        self._defaults = function.__defaults__
        self._kwdefaults = function.__kwdefaults__
        self._tag = tag
        self._catalogue = catalogue
        self.scalars = catalogue.scalars
        self._guard = Guard()
        self.scope = Scope(catalogue)
        self.signature = Signature(function)
        self.reads = code_facts(function.__code__).reads
        self.name = function.__name__
        label = self.scope.unique("code")
        self.scope.name(function, label)
        reach = Reach(self.scope, self._guard, module_of(function))
        code = text(b"n", self.name) + tag + reach.function(function, "")
        if self.signature.is_of_another:
            code += reach.defaults(function)
        reach.describe_waiting()
        self.scope.settle()
        self.scope.release(function)
        fixed = [Part(label, "code", b"#" + digest(code)), Part(b"", "python", _PREFIX)]
        fixed += [part for part in reach.parts if not part.varies]
        fixed.sort(key=_label_of)
        self._hasher = blake2b(digest_size=DIGEST_SIZE)
        for part in fixed:
            self._hasher.update(part.label + part.token)
        #: The parts that are the same for each call, as a record keeps them.
        self.fixed = {part.name: short(part.token) for part in fixed}
        #: A name for all of them together.
        self.fixed_id = self._hasher.hexdigest()
        #: Parts that may change in place.
        self.varying = sorted((part for part in reach.parts if part.varies), key=_label_of)

    def hasher(self) -> Any:
        """A hash that has taken the fixed parts."""
        return self._hasher.copy()

    def holds(self, function: FunctionType, tag: bytes) -> bool:
        """Whether nothing that it was made from has changed."""
        return (
            self._root() is function
            and self._tag == tag
            and function.__code__ is self._code
            and function.__defaults__ is self._defaults
            and function.__kwdefaults__ is self._kwdefaults
            and self.scalars is self._catalogue.scalars
            and self._guard.holds()
        )


def _label_of(part: Part) -> bytes:
    return part.label


class Plans:
    """The plans of the functions used last."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._plans: OrderedDict[int, Plan] = OrderedDict()
        self._lock = Lock()

    def get(self, function: FunctionType, tag: bytes) -> Plan:
        """The plan of a function, made if there is none or it holds no more."""
        plan = self._plans.get(id(function))
        if plan is not None and plan.holds(function, tag):
            return plan
        plan = Plan(self._catalogue, function, tag)
        with self._lock:
            self._plans[id(function)] = plan
            self._plans.move_to_end(id(function))
            while len(self._plans) > _MAX_PLANS:
                self._plans.popitem(last=False)
        return plan
