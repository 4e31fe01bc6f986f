"""Which parameter gets which argument, without the cost of `inspect`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from types import FunctionType
from typing import Any

#: Names of variable parameters as people write them.
_STAR, _STARS = "*", "**"


class Signature:
    """The parameters of one function.

    `bind` gives the same arguments for `f(1)` and `f(x=1)`, and the defaults for what is left out.
    """

    __slots__ = (
        "_by_keyword",
        "_defaults",
        "_order",
        "_positional",
        "_star",
        "_stars",
        "declared",
        "is_of_another",
    )

    def __init__(self, function: FunctionType) -> None:
        given, function = function, _signed(function)
        #: Whether the parameters are those of a function that this one wraps.
        self.is_of_another = function is not given
        code = function.__code__
        count, keyword_only = code.co_argcount, code.co_kwonlyargcount
        names = code.co_varnames
        self._positional = names[:count]
        self._order = names[: count + keyword_only]
        self._by_keyword = frozenset(self._order[code.co_posonlyargcount :])
        at = count + keyword_only
        self._star = self._stars = ""
        if code.co_flags & inspect.CO_VARARGS:
            self._star = _STAR + names[at]
            at += 1
        if code.co_flags & inspect.CO_VARKEYWORDS:
            self._stars = _STARS + names[at]
        defaults = function.__defaults__ or ()
        self._defaults = dict(zip(self._positional[count - len(defaults) :], defaults, strict=True))
        self._defaults.update(function.__kwdefaults__ or {})
        #: Names that the function spells out.
        self.declared = frozenset(self._order)

    def bind(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[dict[str, Any], frozenset[str]] | None:
        """Arguments by parameter, and the names of those that are defaults; None if they misfit.

        What `**` takes is listed by its own names, with `**` before them.
        """
        positional = self._positional
        bound = dict(zip(positional, args, strict=False))
        rest = tuple(args[len(positional) :])
        if rest and not self._star:
            return None
        extra: dict[str, Any] = {}
        for name, value in kwargs.items():
            if name in self._by_keyword:
                if name in bound:
                    return None
                bound[name] = value
            elif self._stars:
                extra[_STARS + name] = value
            else:
                return None
        left_out: tuple[str, ...] = ()
        if len(bound) < len(self._order):
            left_out = tuple(name for name in self._order if name not in bound)
            for name in left_out:
                if name not in self._defaults:
                    return None
                bound[name] = self._defaults[name]
            bound = {name: bound[name] for name in self._order}
        elif kwargs:
            bound = {name: bound[name] for name in self._order}
        if self._star:
            bound[self._star] = rest
        for name in sorted(extra):
            bound[name] = extra[name]
        return bound, frozenset(left_out)


def _signed(function: FunctionType) -> FunctionType:
    """The function whose parameters count: the innermost that `functools.wraps` points to."""
    seen = {id(function)}
    while True:
        wrapped = function.__dict__.get("__wrapped__")
        if not isinstance(wrapped, FunctionType) or id(wrapped) in seen:
            return function
        seen.add(id(wrapped))
        function = wrapped
