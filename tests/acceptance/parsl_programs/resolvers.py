"""Futures inside containers: a matter of the resolver."""

from concurrent.futures import Future

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.dataflow.dependency_resolvers import (
    DEEP_DEPENDENCY_RESOLVER,
    SHALLOW_DEPENDENCY_RESOLVER,
    DependencyResolver,
)


@python_app
def number(x):
    return x


@python_app
def show(obj):
    return repr(obj)


@python_app
def kind(obj):
    from concurrent.futures import Future

    return isinstance(obj[0], Future)


with parsl.load(Config(dependency_resolver=DEEP_DEPENDENCY_RESOLVER)):
    assert show([number(1), number(2)]).result() == "[1, 2]"
    assert show((number(1), [number(2)])).result() == "(1, [2])"
    assert show({"a": number(1), number("b"): [number(2)]}).result() == "{'a': 1, 'b': [2]}"
    assert show({number(1)}).result() == "{1}"
    assert show(number(5)).result() == "5"

with parsl.load(Config(dependency_resolver=SHALLOW_DEPENDENCY_RESOLVER)):
    assert kind([number(1)]).result() is True
    assert show(number(5)).result() == "5"

with parsl.load():
    assert kind([number(1)]).result() is True, "shallow is the default"
    assert show(number(7)).result() == "7"


class Parcel:
    def __init__(self, content):
        self.content = content


def gather(obj):
    if isinstance(obj, Future):
        return [obj]
    return [obj.content] if isinstance(obj, Parcel) else []


def unwrap(obj):
    if isinstance(obj, Future):
        return obj.result()
    return obj.content.result() if isinstance(obj, Parcel) else obj


mine = DependencyResolver(traverse_to_gather=gather, traverse_to_unwrap=unwrap)
with parsl.load(Config(dependency_resolver=mine)):
    assert show(Parcel(number(3))).result() == "3"
    assert show(number(4)).result() == "4"
print("OK")
