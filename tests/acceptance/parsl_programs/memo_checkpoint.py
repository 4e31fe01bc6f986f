"""Equal calls run once; after a restart they are served from the checkpoint."""

import os

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.dataflow.memoization import BasicMemoizer
from parsl.executors import ThreadPoolExecutor
from parsl.utils import get_all_checkpoints, get_last_checkpoint

LOG = os.path.abspath("calls.log")


@python_app(cache=True)
def slow_square(x, log):
    with open(log, "a") as f:
        f.write(f"square {x}\n")
    return x * x


@python_app(cache=True, ignore_for_cache=["trace"])
def ignoring(x, log, trace=None):
    with open(log, "a") as f:
        f.write(f"ignoring {x}\n")
    return (x, trace)


@python_app
def not_cached(x, log):
    with open(log, "a") as f:
        f.write(f"plain {x}\n")
    return x


def calls(prefix):
    if not os.path.exists(LOG):
        return 0
    with open(LOG) as f:
        return sum(line.startswith(prefix) for line in f)


def config(**options):
    return Config(executors=[ThreadPoolExecutor(max_threads=2)], memoizer=BasicMemoizer(**options))


with parsl.load(config(checkpoint_mode="task_exit")):
    assert [slow_square(3, LOG).result() for _ in range(3)] == [9, 9, 9]
    assert slow_square(4, LOG).result() == 16
    assert calls("square") == 2
    assert ignoring(1, LOG, trace="a").result() == (1, "a")
    assert ignoring(1, LOG, trace="b").result() == (1, "a")
    assert calls("ignoring") == 1
    assert [not_cached(1, LOG).result() for _ in range(2)] == [1, 1]
    assert calls("plain") == 2

assert len(get_all_checkpoints()) == 1
assert get_last_checkpoint() == get_all_checkpoints()

with parsl.load(config(checkpoint_files=get_last_checkpoint(), checkpoint_mode="dfk_exit")):
    assert slow_square(3, LOG).result() == 9
    assert slow_square(4, LOG).result() == 16
    assert calls("square") == 2
    assert slow_square(5, LOG).result() == 25
    assert calls("square") == 3

assert len(get_all_checkpoints()) == 2
with parsl.load(config(checkpoint_files=get_all_checkpoints())):
    assert [slow_square(x, LOG).result() for x in (3, 4, 5)] == [9, 16, 25]
    assert calls("square") == 3

with parsl.load(config(memoize=False)):
    assert [slow_square(3, LOG).result() for _ in range(2)] == [9, 9]
    assert calls("square") == 5
print("OK")
