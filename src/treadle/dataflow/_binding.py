"""Arguments: which futures are in them, and what stands there when those are done."""

from __future__ import annotations

from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, cast

from treadle.dataflow._lazy import LazyFuture
from treadle.dataflow._remote import Remote
from treadle.dataflow.dependency_resolvers import SHALLOW_DEPENDENCY_RESOLVER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from treadle.dataflow.dependency_resolvers import DependencyResolver
    from treadle.dataflow.taskrecord import TaskRecord


def gather(
    args: Sequence[Any], kwargs: Mapping[str, Any], resolver: DependencyResolver
) -> list[Future[Any]]:
    """All futures that the resolver finds in the arguments and in the items of `inputs`."""
    if resolver is SHALLOW_DEPENDENCY_RESOLVER:
        found = [a for a in args if isinstance(a, Future)]
        if kwargs:
            found += [a for a in kwargs.values() if isinstance(a, Future)]
    else:
        traverse = resolver.traverse_to_gather
        found = [f for a in args for f in traverse(a)]
        found += [f for a in kwargs.values() for f in traverse(a)]
    inputs = kwargs.get("inputs")
    if inputs and isinstance(inputs, (list, tuple)):
        known = set(map(id, found))
        for item in inputs:
            found += [f for f in resolver.traverse_to_gather(item) if id(f) not in known]
    return found


def is_easy(futures: Sequence[Future[Any]], resolver: DependencyResolver) -> bool:
    """Whether the arguments can be bound without calling any code but ours."""
    return resolver is SHALLOW_DEPENDENCY_RESOLVER and all(
        isinstance(f, LazyFuture) for f in futures
    )


def bind(record: TaskRecord, resolver: DependencyResolver) -> None:
    """Put the results of dependencies in their places; once per task."""
    if record.bound:
        return
    unwrap = resolver.traverse_to_unwrap
    record.args = tuple([unwrap(a) for a in record.args])
    kwargs = {name: unwrap(a) for name, a in record.kwargs.items()}
    inputs = kwargs.get("inputs")
    if isinstance(inputs, (list, tuple)):
        kwargs["inputs"] = [unwrap(item) for item in inputs]
    record.kwargs = kwargs
    record.bound = True


def bind_easy(record: TaskRecord) -> None:
    """The same for futures of ours in plain places: no call, no copy of what has none."""
    record.args = tuple([_here(a) if isinstance(a, LazyFuture) else a for a in record.args])
    kwargs = record.kwargs
    if kwargs:
        record.kwargs = {
            name: _here(a) if isinstance(a, LazyFuture) else a for name, a in kwargs.items()
        }
        inputs = kwargs.get("inputs")
        if isinstance(inputs, (list, tuple)):
            record.kwargs["inputs"] = [
                _here(cast("Any", a)) if isinstance(a, LazyFuture) else a for a in inputs
            ]
    record.bound = True


def _here(future: LazyFuture[Any]) -> Any:
    result = future._result
    return result.get() if type(result) is Remote else result


def remote_in(futures: Sequence[Any]) -> list[Remote]:
    """Results that are not in this process, of futures that are done."""
    found = []
    for future in futures:
        if isinstance(future, LazyFuture):
            result = future._result
            if type(result) is Remote and not result.is_loaded:
                found.append(result)
    return found
