"""Pickling by value: cloudpickle, told which modules a worker cannot import."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, TypeVar

import cloudpickle

from treadle.serialize._modules import (
    PROTOCOL,
    import_object,
    look_up,
    module_of,
    reference_through_app,
    travels_by_value,
)

T = TypeVar("T")


def dump(pickler: Callable[[io.BytesIO, int], Any], obj: object) -> bytes:
    """The bytes that a pickler makes of an object."""
    buffer = io.BytesIO()
    pickler(buffer, PROTOCOL).dump(obj)
    return buffer.getvalue()


def dump_by_value(obj: object) -> bytes:
    """Pickle, with `__main__` and the modules beside the script by value."""
    return by_value(obj, dump)


def by_value(obj: object, dump: Callable[[Any, object], T]) -> T:
    """What `dump` makes with a pickler of the same rule, which it is given first."""
    try:
        return dump(_ValuePickler, obj)
    except KeyboardInterrupt:
        raise
    except BaseException as first:  # noqa: BLE001 - a __reduce__ may raise anything
        # A module beside the script may hold what cannot travel (a lock in its globals). The
        # worker usually shares our sys.path, so its name may do where its value does not.
        try:
            return dump(NamePickler, obj)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - the first error is the one to tell
            raise first from None


class _ValuePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (FunctionType, type, ModuleType)):
            module = module_of(obj)
            if module is not None and travels_by_value(module):
                cloudpickle.register_pickle_by_value(sys.modules[module])
            elif module != "__main__":
                reduced = reference_through_app(obj)
                if reduced is not NotImplemented:
                    return reduced
        return super().reducer_override(obj)


def dump_by_name(obj: object) -> bytes:
    """Pickle, with everything that this process has imported by its name."""
    return dump(NamePickler, obj)


class NamePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (FunctionType, type, ModuleType)):
            module = module_of(obj)
            if module is not None and travels_by_value(module):
                if isinstance(obj, ModuleType):
                    return importlib.import_module, (module,)
                if look_up(module, obj.__qualname__) is obj:
                    return import_object, (module, obj.__qualname__)
        return super().reducer_override(obj)
