"""Pickling exceptions without asking their constructors, which may want other arguments."""

from __future__ import annotations

from typing import Any

from treadle.serialize._by_value import NamePickler, dump


def dumps_without_constructors(exc: BaseException) -> bytes:
    """Pickle an exception, and all those in it, as class, args and attributes."""
    return dump(_ExceptionPickler, exc)


class _ExceptionPickler(NamePickler):
    """Takes exceptions apart without asking them: args and attributes, no constructor."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, BaseException):
            state = dict(vars(obj))
            return _rebuild_exception, (type(obj), obj.args, state)
        return super().reducer_override(obj)


def _rebuild_exception(
    cls: type[BaseException], args: tuple[Any, ...], state: dict[str, Any]
) -> BaseException:
    # The constructor may want other arguments than it gave to its base; __new__ takes any.
    exc = cls.__new__(cls, *args)
    exc.args = args
    exc.__dict__.update(state)
    return exc
