"""Map over inputs, reduce over futures, in one step and as a tree."""

import parsl
from parsl import python_app

parsl.load()


@python_app
def app_double(x):
    return x * 2


@python_app
def app_sum(inputs=()):
    return sum(inputs)


@python_app
def add(a, b=0):
    return a + b


items = list(range(20))
mapped = [app_double(i) for i in items]
total = app_sum(inputs=mapped)
assert total.result() == sum(2 * i for i in items)

level = [app_double(i) for i in range(64)]
while len(level) > 1:
    level = [add(a, b=b) for a, b in zip(level[::2], level[1::2], strict=True)]
assert level[0].result() == 2 * sum(range(64))

# a mixture of values and futures
assert app_sum(inputs=[1, app_double(2), 3]).result() == 8

parsl.wait_for_current_tasks()
assert all(f.done() for f in mapped)
parsl.dfk().cleanup()
print("OK")
