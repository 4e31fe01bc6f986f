"""The digest of a code object, and the names that it reads.

What a function does is in its instructions with their operands resolved: constants by value,
names as names, jumps as distances in instructions. So line numbers, file names, comments,
docstrings and the numbering of constants are not in the digest, and an instruction that changes
is.
"""

from __future__ import annotations

import dis
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any

from treadle.dataflow.memo._scalars import SCALARS, digest, text

#: `co_flags` without those that say how the code is nested or whether it has a docstring.
_FLAGS = 0x3EF
_SILENT = frozenset({"CACHE", "EXTENDED_ARG", "NOP"})
_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD"})
_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME"})
#: What a class body notes about itself that is not behaviour.
_NOTES = frozenset({"__doc__", "__firstlineno__", "__module__", "__qualname__"})
_NAMES = frozenset(dis.hasname)
_CONSTANTS = frozenset(dis.hasconst)
_JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)
_VARIABLES = frozenset(dis.haslocal) | frozenset(dis.hasfree)
_READS = ("LOAD_FAST", "LOAD_DEREF", "LOAD_CLOSURE")

#: A dotted name as the code spells it: `('helpers', 'norm')` for `helpers.norm`.
Chain = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Import:
    """An import statement inside a function."""

    #: Dots before the name.
    level: int
    #: The module.
    name: str
    #: Names taken from it; empty for a plain `import`.
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CodeFacts:
    """What is to be known of a code object, the code nested in it included."""

    digest: bytes
    #: Globals, with the attributes that follow them, sorted.
    chains: tuple[Chain, ...]
    imports: tuple[Import, ...]
    #: Parameters and variables whose values it looks at.
    reads: frozenset[str]


#: By identity: equal code objects may differ in what the digest tells apart.
_facts: dict[int, tuple[CodeType, CodeFacts]] = {}
_MAX_FACTS = 4096


def code_facts(code: CodeType) -> CodeFacts:
    """The facts of a code object, remembered."""
    known = _facts.get(id(code))
    if known is not None and known[0] is code:
        return known[1]
    facts = _Reader(code).facts()
    if len(_facts) >= _MAX_FACTS:
        _facts.clear()
    _facts[id(code)] = (code, facts)
    return facts


class _Reader:
    """Reads one code object from its first instruction to its last."""

    def __init__(self, code: CodeType) -> None:
        self._code = code
        self._chains: set[Chain] = set()
        self._imports: set[Import] = set()
        self._reads: set[str] = set(code.co_cellvars)
        self._steps = list(_spoken(dis.get_instructions(code)))

    def facts(self) -> CodeFacts:
        places = self._places()
        tokens = [self._head()]
        for i, step in enumerate(self._steps):
            self._note(i, step)
            tokens.append(text(b"o", step.opname))
            tokens.append(self._operand(step, places))
        tokens.append(self._handlers(places))
        return CodeFacts(
            digest(b"".join(tokens)),
            tuple(sorted(self._chains)),
            tuple(sorted(self._imports, key=lambda i: (i.level, i.name, i.names))),
            frozenset(self._reads),
        )

    def _head(self) -> bytes:
        code = self._code
        counts = (
            code.co_argcount,
            code.co_posonlyargcount,
            code.co_kwonlyargcount,
            code.co_flags & _FLAGS,
        )
        names = (code.co_varnames, code.co_freevars, code.co_cellvars)
        return text(b"h", repr((counts, names)))

    def _places(self) -> dict[int, int]:
        """Offsets of instructions as their number; a silent one stands for its successor."""
        places: dict[int, int] = {}
        at = 0
        offsets = [step.offset for step in self._steps]
        for offset in range(0, len(self._code.co_code) + 2, 2):
            while at < len(offsets) and offsets[at] < offset:
                at += 1
            places[offset] = at
        return places

    def _operand(self, step: dis.Instruction, places: dict[int, int]) -> bytes:
        if step.arg is None:
            return b"-"
        if step.opcode in _CONSTANTS:
            return self._constant(step.argval)
        if step.opcode in _NAMES:
            return text(b"n", step.argrepr)
        if step.opcode in _JUMPS:
            return b"j%x;" % places[step.argval]
        if step.opcode in _VARIABLES:
            return text(b"v", repr(step.argval))
        return b"a%x;" % step.arg

    def _constant(self, value: Any) -> bytes:
        if isinstance(value, CodeType):
            inner = code_facts(value)
            self._chains.update(inner.chains)
            self._imports.update(inner.imports)
            self._reads.update(inner.reads.intersection(value.co_freevars))
            return b"C" + inner.digest
        if type(value) in (tuple, frozenset):
            tokens = [self._constant(item) for item in value]
            if type(value) is frozenset:
                tokens.sort()
            tag = b"t" if type(value) is tuple else b"z"
            return b"%b%x:%b" % (tag, len(tokens), b"".join(tokens))
        scalar = SCALARS.get(type(value))
        return scalar(value) if scalar else text(b"?", repr(value))

    def _handlers(self, places: dict[int, int]) -> bytes:
        entries = getattr(dis.Bytecode(self._code), "exception_entries", None)
        if entries is None:
            return b"x" + digest(self._code.co_exceptiontable)
        rows = [
            (places[e.start], places.get(e.end, -1), places[e.target], e.depth, e.lasti)
            for e in entries
        ]
        return text(b"x", repr(rows))

    def _note(self, i: int, step: dis.Instruction) -> None:
        """Remember what the instruction reads from outside."""
        if step.opname in _GLOBAL:
            chain = [step.argval]
            for follower in self._steps[i + 1 :]:
                if follower.opname not in _ATTRIBUTE:
                    break
                chain.append(follower.argval)
            self._chains.add(tuple(chain))
        elif step.opname == "IMPORT_NAME":
            level, names = self._steps[i - 2].argval, self._steps[i - 1].argval
            self._imports.add(Import(int(level or 0), step.argval, tuple(names or ())))
        elif step.opname.startswith(_READS):
            values = step.argval if isinstance(step.argval, tuple) else (step.argval,)
            self._reads.update(values)


def _spoken(steps: Iterable[dis.Instruction]) -> Iterator[dis.Instruction]:
    """The instructions that do something; notes that a class body takes are left out."""
    held: dis.Instruction | None = None
    for step in steps:
        if step.opname in _SILENT:
            continue
        if held is not None:
            if step.opname == "STORE_NAME" and step.argval in _NOTES:
                held = None
                continue
            yield held
            held = None
        if step.opcode in _CONSTANTS or step.opname in ("LOAD_NAME", "LOAD_SMALL_INT"):
            held = step
            continue
        yield step
    if held is not None:
        yield held
