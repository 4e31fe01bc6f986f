"""What the tests of memo keys share: keys of calls, and modules that can be edited."""

from __future__ import annotations

import sys
import textwrap
import types
from types import FunctionType
from typing import Any

from treadle.dataflow.memo.key import KeyMaker, MemoKey
from treadle.dataflow.memo.registry import CATALOGUE, PLANS

KEYS = KeyMaker(CATALOGUE, PLANS)
KEYS_BY_CONTENT = KeyMaker(CATALOGUE, PLANS, content=True)


def key(func: Any, *args: Any, **kwargs: Any) -> MemoKey:
    """The key of a call."""
    return KEYS.make(func, args, kwargs)


def digest(func: Any, *args: Any, **kwargs: Any) -> str:
    """Its digest."""
    return key(func, *args, **kwargs).digest


def identity(x: Any) -> Any:
    """A function whose key is that of its argument."""
    return x


def of_value(value: Any) -> str:
    """The key of a call with this argument."""
    return digest(identity, value)


class Project:
    """Modules made of text, as a project on disk would be, which can be edited."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def module(self, name: str, source: str) -> types.ModuleType:
        """Import a module of this source, anew if there is one of this name."""
        module = types.ModuleType(name)
        module.__file__ = f"/project/{name}.py"
        sys.modules[name] = module
        self._names.append(name)
        exec(compile(textwrap.dedent(source), module.__file__, "exec"), vars(module))
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
        return module

    def function(self, source: str, name: str = "f", module: str = "project_main") -> FunctionType:
        """The function of this name in a module of this source."""
        found = getattr(self.module(module, source), name)
        assert isinstance(found, FunctionType)
        return found

    def forget(self) -> None:
        """Undo the imports."""
        for name in self._names:
            sys.modules.pop(name, None)
