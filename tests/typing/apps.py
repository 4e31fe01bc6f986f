"""What a type checker knows about apps; read by mypy, never run.

A line that must be an error says so with `type: ignore[code]`: were it none, the ignore would be
unused, and that is an error as well.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any, assert_type

from treadle.app._map import MapResults
from treadle.app.app import bash_app, join_app, python_app
from treadle.app.bash import BashApp
from treadle.app.join import JoinApp
from treadle.app.python import PythonApp
from treadle.dataflow.dflow import DataFlowKernel
from treadle.dataflow.futures import AppFuture

# --- python apps -------------------------------------------------------------------------------


@python_app
def inc(x: int) -> int:
    return x + 1


@python_app(cache=True, executors=["threads"], ignore_for_cache=["y"])
def add(x: int, *, y: float) -> float:
    return x + y


@python_app(executors=("a", "b"))
def shout(text: str = "", walltime: float | None = None) -> str:
    return text.upper()


assert_type(inc(1), AppFuture[int])
assert_type(inc(x=1), AppFuture[int])
assert_type(inc(1).result(), int)
assert_type(add(1, y=2), AppFuture[float])
assert_type(shout("a", walltime=5), AppFuture[str])
assert_type(shout(), AppFuture[str])

inc("1")  # type: ignore[arg-type]
inc(y=1)  # type: ignore[call-arg]
inc()  # type: ignore[call-arg]
add(1, 2)  # type: ignore[call-arg]
shout(walltime="soon")  # type: ignore[arg-type]

# A future where a value is declared: `out` is the future, typed as its result.
assert_type(inc(1).out, int)
assert_type(inc(inc(1).out), AppFuture[int])
assert_type(add(inc(1).out, y=add(1, y=2).out), AppFuture[float])
inc(inc(1))  # type: ignore[arg-type]
inc(shout().out)  # type: ignore[arg-type]

assert_type(inc.local(1), int)
inc.local("1")  # type: ignore[arg-type]

assert_type(inc.map([1, 2]), MapResults[int])
assert_type(list(inc.map(range(10), window=5)), list[int])
results: Iterator[float] = add.map([1], y=2.0)

python_app(executors="threads")  # type: ignore[call-overload]
python_app(cache="yes")  # type: ignore[call-overload]
python_app(no_such_option=1)  # type: ignore[call-overload]


async def waits() -> None:
    assert_type(await inc(1), int)


class Scale:
    @python_app
    def apply(self, x: int) -> str:
        return str(x)


assert_type(Scale().apply(1), AppFuture[str])
assert_type(list(Scale().apply.map([1])), list[str])
unbound: PythonApp[[Scale, int], str] = Scale.apply
Scale().apply("1")  # type: ignore[arg-type]


# --- bash apps ---------------------------------------------------------------------------------


@bash_app
def compress(path: str, *, level: int = 6, outputs: list[Any] | tuple[Any, ...] = ()) -> str:
    return f"gzip -{level} {path}"


@bash_app(cache=True)
def touch(path: str) -> str:
    return f"touch {path}"


assert_type(compress("a", level=9), AppFuture[int])
assert_type(touch("a"), AppFuture[int])
assert_type(touch("a").out, int)
assert_type(touch.local("a"), str)
kept: BashApp[[str]] = touch
compress("a", level="9")  # type: ignore[arg-type]


def returns_int() -> int:
    return 0


bash_app(returns_int)  # type: ignore[arg-type]


# --- join apps ---------------------------------------------------------------------------------


@join_app
def one(n: int) -> AppFuture[int]:
    return inc(n)


@join_app
def several(n: int) -> list[AppFuture[int]]:
    return [inc(i) for i in range(n)]


@join_app(cache=True)
def again(n: int) -> list[AppFuture[str]]:
    return [shout() for _ in range(n)]


@join_app
def foreign() -> Future[bytes]:
    return Future()


assert_type(one(1), AppFuture[int])
assert_type(several(1), AppFuture[list[int]])
assert_type(again(1), AppFuture[list[str]])
assert_type(foreign(), AppFuture[bytes])
assert_type(several(1).out, list[int])
kept_join: JoinApp[[int], list[int]] = several
one("1")  # type: ignore[arg-type]
join_app(executors=["threads"])  # type: ignore[call-overload]
join_app(returns_int)  # type: ignore[arg-type]


# --- a kernel of one's own ---------------------------------------------------------------------


def on_this_kernel(kernel: DataFlowKernel) -> None:
    there = python_app(data_flow_kernel=kernel)(returns_int)
    assert_type(there(), AppFuture[int])


# --- functions without types stay callable -----------------------------------------------------


@python_app
def untyped(x, y=1):  # type: ignore[no-untyped-def]
    return x


untyped(1, y=2)
