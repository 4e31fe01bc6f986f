"""Turning calls into bytes and back.

Two rules. What a worker can import goes by reference; what it cannot (`__main__`, lambdas,
closures, the modules that lie beside the script) goes by value. And plain pickle is tried first,
since it is several times faster than cloudpickle and most calls need nothing more.

The plain pickler is told of every class and function it is about to name, so it can stop at the
first one that has to travel by value, instead of writing a reference that fails in the worker.
"""

from __future__ import annotations

import io
import os
import pickle
import sys
import sysconfig
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any

import cloudpickle

from treadle.errors import DeserializationError, SerializationError

PROTOCOL = 5


class _NeedsValue(Exception):
    """The plain pickler met something that must travel by value."""


def dumps(obj: object) -> bytes:
    """Pickle by the two rules above.

    Raises:
        Whatever the pickling raises; `dumps_call` is the one that explains.
    """
    try:
        return _plain(obj)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - a __reduce__ may raise anything
        # Whatever went wrong, cloudpickle may still manage, and if not, its error is the one
        # that tells why: the plain pickler's may only have been about a lambda.
        return _by_value(obj)


def dumps_home(obj: object) -> bytes:
    """Pickle what goes back to where the call came from: it has all its modules, so names do.

    A class that came here by value goes back by value, and is recognised there.
    """
    try:
        return _plain(obj, home=True)
    except KeyboardInterrupt:
        raise
    except BaseException:  # noqa: BLE001 - a __reduce__ may raise anything
        return _dump(NamePickler, obj)


def loads(payload: bytes) -> Any:
    """Unpickle what `dumps` made.

    Raises:
        DeserializationError: the bytes, or something they name, cannot be loaded; chained.
    """
    try:
        return pickle.loads(payload)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise DeserializationError(
            f"the {len(payload)} bytes of a pickle cannot be loaded here "
            f"({type(error).__name__}: {_text(error)})"
        ) from error


def guarded(
    pickle_it: Callable[[object], bytes],
    obj: object,
    explain: Callable[[BaseException], SerializationError],
) -> bytes:
    """`pickle_it(obj)`, where everything but the user's own Ctrl-C ends as `explain(error)`."""
    try:
        return pickle_it(obj)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and _in_main_thread():
            raise
        raise explain(error) from error


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:  # noqa: BLE001 - the text of a user's exception is user code
        return "(its text cannot be shown)"


# --- the two picklers --------------------------------------------------------------------------


def _dump(pickler: Callable[[io.BytesIO, int], Any], obj: object) -> bytes:
    buffer = io.BytesIO()
    pickler(buffer, PROTOCOL).dump(obj)
    return buffer.getvalue()


def _plain(obj: object, *, home: bool = False) -> bytes:
    return _dump(_HomePickler if home else _PlainPickler, obj)


def _by_value(obj: object) -> bytes:
    try:
        return _dump(_ValuePickler, obj)
    except KeyboardInterrupt:
        raise
    except BaseException as first:  # noqa: BLE001 - a __reduce__ may raise anything
        # A module beside the script may hold what cannot travel (a lock in its globals). The
        # worker usually shares our sys.path, so its name may do where its value does not.
        try:
            return _dump(NamePickler, obj)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 - the first error is the one to tell
            raise first from None


class _PlainPickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (FunctionType, type)):
            module = _module_of(obj)
            if module == "__main__" or _travels_by_value(module):
                raise _NeedsValue(module)
            return _reference_through_app(obj)
        return NotImplemented


class _HomePickler(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (FunctionType, type)) and _module_of(obj) == "__main__":
            raise _NeedsValue("__main__")
        return NotImplemented


class _ValuePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (FunctionType, type)):
            module = _module_of(obj)
            if module != "__main__" and not _travels_by_value(module):
                reduced = _reference_through_app(obj)
                if reduced is not NotImplemented:
                    return reduced
        return super().reducer_override(obj)


class NamePickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, (FunctionType, type)):
            module = _module_of(obj)
            if _travels_by_value(module) and _look_up(module, obj.__qualname__) is obj:
                return _import_object, (module, obj.__qualname__)
        return super().reducer_override(obj)


def _module_of(obj: object) -> str | None:
    # None where a class or function was made by hand; another type where a user made it so.
    module = getattr(obj, "__module__", None)
    return module if isinstance(module, str) else None


def _reference_through_app(obj: Any) -> Any:
    """Name a decorated function by its app: `module.name` is the app, the app has the function."""
    if not isinstance(obj, FunctionType):
        return NotImplemented
    module, name = obj.__module__, obj.__qualname__
    found = _look_up(module, name)
    if found is None or found is obj or isinstance(found, type):
        return NotImplemented
    if getattr(found, "func", None) is obj:
        return _import_function_of_app, (module, name)
    return NotImplemented


def _look_up(module: str | None, qualname: str) -> Any:
    found: Any = sys.modules.get(module or "")
    for part in qualname.split("."):
        if found is None or part == "<locals>":
            return None
        try:
            found = getattr(found, part, None)
        except BaseException:  # noqa: BLE001 - a property or module __getattr__ of the user's
            return None
    return found


def _import_object(module: str, qualname: str) -> Any:
    __import__(module)
    found: Any = sys.modules[module]
    for part in qualname.split("."):
        found = getattr(found, part)
    return found


def _import_function_of_app(module: str, qualname: str) -> Any:
    return _import_object(module, qualname).func


# --- which modules travel by value -------------------------------------------------------------

_by_value_modules: dict[str, bool] = {}


def _travels_by_value(name: str | None) -> bool:
    """Whether the module lies beside the script, so that other machines cannot import it."""
    if name is None:
        return False
    known = _by_value_modules.get(name)
    if known is not None:
        return known
    module = sys.modules.get(name)
    if module is None:
        return False
    known = _lies_beside_script(module)
    if known:
        cloudpickle.register_pickle_by_value(module)
    _by_value_modules[name] = known
    return known


def _lies_beside_script(module: ModuleType) -> bool:
    file = getattr(module, "__file__", None)
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    try:
        folder = _script_folder(script or os.path.join(os.getcwd(), "(interactive)"))
    except OSError:
        return False  # the working directory has been removed
    if not isinstance(file, str) or folder is None:
        return False
    file = os.path.realpath(file)
    return _is_under(file, folder) and not any(_is_under(file, f) for f in _installed_folders())


@lru_cache(maxsize=8)
def _script_folder(script: str) -> str | None:
    """Where the script lies; None where it is a program that was installed (pytest, jupyter)."""
    path = os.path.realpath(script)
    if any(_is_under(path, folder) for folder in _installed_folders()):
        return None
    return os.path.dirname(path)


@lru_cache(maxsize=1)
def _installed_folders() -> tuple[str, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib", "scripts")
    folders = {os.path.realpath(sysconfig.get_path(name)) for name in names}
    # Treadle itself is installed wherever it lies: a worker could not run without it.
    folders.add(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
    return tuple(folders)


def _is_under(path: str, folder: str) -> bool:
    return path.startswith(folder.rstrip(os.sep) + os.sep)


# --- calls -------------------------------------------------------------------------------------

Call = tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]


def load_call(payload: bytes) -> Call:
    """The function, its arguments and its keyword arguments, as `dumps_call` was given them."""
    func, args, kwargs = loads(payload)
    return func, args, kwargs
