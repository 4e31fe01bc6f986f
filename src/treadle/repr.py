"""A repr from which the object can be rebuilt."""

from __future__ import annotations

import inspect
import textwrap

#: A repr longer than this is broken into one argument a line.
_LINE = 80


def _parameters(cls: type) -> tuple[inspect.Parameter, ...]:
    own = list(inspect.signature(cls).parameters.values())
    return tuple(p for p in own if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD))


class RepresentationMixin:
    """Gives a class a repr made of its constructor's arguments, sorted by name.

    The constructor must keep each argument in an attribute of the same name.
    """

    def __repr__(self) -> str:
        cls = type(self)
        names = sorted(p.name for p in _parameters(cls))
        arguments = [f"{name}={getattr(self, name)!r}" for name in names]
        line = f"{cls.__name__}({', '.join(arguments)})"
        if len(line) <= _LINE:
            return line
        body = ",\n".join(textwrap.indent(argument, "    ") for argument in arguments)
        return f"{cls.__name__}(\n{body}\n)"
