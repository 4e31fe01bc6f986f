"""An executor of one's own that runs tasks in other processes, started anew."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

import parsl
from parsl import bash_app, python_app
from parsl.config import Config
from parsl.executors.base import ParslExecutor
from parsl.serialize import pack_apply_message, unpack_apply_message


def run_packed(packed):
    func, args, kwargs = unpack_apply_message(packed)
    return func(*args, **kwargs)


class ProcessExecutor(ParslExecutor):
    def __init__(self, label="processes", workers=2):
        super().__init__()
        self.label = label
        self.workers = workers

    def start(self):
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(self.workers, mp_context=context)

    def submit(self, func, resource_specification, *args, **kwargs):
        return self.pool.submit(run_packed, pack_apply_message(func, args, kwargs))

    def shutdown(self):
        self.pool.shutdown()


@python_app
def compute(x):
    import os

    return 3 * x, os.getpid()


@python_app
def imports_parsl(path):
    import parsl
    from parsl.data_provider.files import File

    return File(path).filename, parsl.AUTO_LOGNAME


@python_app
def fails(x):
    raise ValueError(f"no {x}")


@bash_app
def echo(word, stdout=None):
    return f"echo {word}"


if __name__ == "__main__":
    with parsl.load(Config(executors=[ProcessExecutor()])):
        first, pid = compute(2).result()
        assert first == 6
        assert pid != os.getpid()
        assert [compute(i)[0].result() for i in range(5)] == [0, 3, 6, 9, 12]
        assert imports_parsl("/some/where.txt").result() == ("where.txt", -1)
        error = fails(1).exception()
        assert isinstance(error, ValueError)
        assert str(error) == "no 1"
        assert echo("there", stdout=os.path.abspath("out.txt")).result() == 0
        with open("out.txt") as f:
            assert f.read() == "there\n"
    print("OK")
