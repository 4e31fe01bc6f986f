"""The executor that most programs use, on blocks of this machine."""

import os
import time

import parsl
from parsl import bash_app, join_app, python_app
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.jobs.states import JobState
from parsl.launchers import SingleNodeLauncher
from parsl.providers import LocalProvider


@python_app
def square(x):
    return x * x


@python_app
def where():
    import os

    return os.getpid()


@python_app
def fail():
    raise ValueError("no yarn")


@bash_app
def greet(name, stdout=None):
    return f"echo hello {name}"


@join_app
def sum_of_squares(n):
    return add(*[square(i) for i in range(n)])


@python_app
def add(*numbers):
    return sum(numbers)


def main():
    executor = HighThroughputExecutor(
        label="htex_local",
        worker_debug=False,
        cores_per_worker=0.1,
        max_workers_per_node=2,
        address="127.0.0.1",
        heartbeat_period=2,
        heartbeat_threshold=10,
        encrypted=True,
        provider=LocalProvider(
            init_blocks=1,
            min_blocks=0,
            max_blocks=1,
            nodes_per_block=1,
            launcher=SingleNodeLauncher(),
            worker_init="export LOOM=7",
        ),
    )
    config = Config(executors=[executor], strategy="simple", max_idletime=60.0)
    with parsl.load(config) as dfk:
        assert square(square(3)).result() == 81
        assert where().result() != os.getpid()
        assert sum_of_squares(10).result() == 285

        error = fail().exception()
        assert isinstance(error, ValueError)
        assert str(error) == "no yarn"

        out = os.path.join(os.getcwd(), "out.txt")
        assert greet("world", stdout=out).result() == 0
        with open(out) as file:
            assert file.read() == "hello world\n"

        begin = time.time()
        assert [f.result() for f in [square(i) for i in range(50)]] == [i * i for i in range(50)]
        assert time.time() - begin < 30

        assert dfk.executors["htex_local"] is executor
        assert executor.scaling_enabled if hasattr(executor, "scaling_enabled") else True
        assert executor.provider.max_blocks == 1
        states = [status.state for status in executor.status().values()]
        assert states == [JobState.RUNNING]
        assert set(executor.blocks_to_job_id) == {"0"}


if __name__ == "__main__":
    main()
    print("OK")
