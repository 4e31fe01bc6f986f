"""Items and attributes of results that do not exist yet, and the other manners of futures."""

import asyncio
from concurrent.futures import as_completed, wait

import parsl
from parsl import python_app
from parsl.dataflow.futures import AppFuture

parsl.load()


class Point:
    def __init__(self, x, y):
        self.x = x
        self.y = y


@python_app
def table():
    return {"a": 1, "b": [10, 20, 30]}


@python_app
def point(x):
    return Point(x, x + 1)


@python_app
def plus(a, b):
    return a + b


t = table()
assert isinstance(t, AppFuture)
assert t["a"].result() == 1
assert t["b"][2].result() == 30
assert plus(t["a"], t["b"][0]).result() == 11
assert isinstance(t["missing"].exception(), Exception)
assert point(4).y.result() == 5
assert plus(point(1).x, point(2).y).result() == 4
assert isinstance(point(1).z.exception(), Exception)

futures = [plus(i, i) for i in range(10)]
done, not_done = wait(futures, timeout=60)
assert len(done) == 10
assert not not_done
assert sorted(f.result() for f in as_completed(futures)) == list(range(0, 20, 2))

called = []
f = plus(1, 2)
f.add_done_callback(called.append)
f.result()
parsl.wait_for_current_tasks()
for _ in range(1000):
    if called:
        break
    wait([plus(0, 0)])
assert called == [f]


async def awaited():
    return await asyncio.wrap_future(plus(20, 22))


assert asyncio.run(awaited()) == 42
assert f.task_status() == "exec_done"
assert f.cancelled() is False

parsl.dfk().cleanup()
print("OK")
