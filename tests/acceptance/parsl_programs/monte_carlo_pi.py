"""Estimate pi by throwing darts, many apps at once, and average."""

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.executors import ThreadPoolExecutor

parsl.load(Config(executors=[ThreadPoolExecutor(label="darts", max_threads=4)]))


@python_app(executors=["darts"])
def pi(number_of_points, seed):
    from random import Random

    random = Random(seed)
    inside = 0
    for _ in range(number_of_points):
        x, y = random.random(), random.random()
        inside += x * x + y * y < 1
    return inside * 4 / number_of_points


@python_app
def mean(*estimates):
    return sum(estimates) / len(estimates)


estimates = [pi(10_000, seed) for seed in range(6)]
average = mean(*estimates)
assert abs(average.result() - 3.14159) < 0.05
assert all(2.9 < e.result() < 3.4 for e in estimates)
parsl.dfk().cleanup()
print("OK")
