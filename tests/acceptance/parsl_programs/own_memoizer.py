"""Memo keys for types of one's own, and a memoizer of one's own."""

from concurrent.futures import Future

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.dataflow.memoization import BasicMemoizer, Memoizer, id_for_memo


class Sample:
    def __init__(self, name, note):
        self.name = name
        self.note = note


@id_for_memo.register(Sample)
def id_for_sample(sample, output_ref=False):
    return b"Sample " + sample.name.encode()


@python_app(cache=True)
def measure(sample):
    with open("runs.txt", "a") as f:
        f.write(f"{sample.note}\n")
    with open("runs.txt") as f:
        return len(f.readlines())


with parsl.load(Config(memoizer=BasicMemoizer())):
    assert measure(Sample("a", "first")).result() == 1
    assert measure(Sample("a", "second")).result() == 1
    assert measure(Sample("b", "third")).result() == 2
with open("runs.txt") as f:
    assert f.read().split() == ["first", "third"]


class ByName(Memoizer):
    """Remembers the last result of each function, whatever its arguments."""

    def __init__(self):
        self.table = {}
        self.calls = []

    def start(self, *, run_dir, config_run_dir):
        self.calls.append("start")

    def check_memo(self, task_record):
        self.calls.append("check")
        if task_record["func_name"] not in self.table:
            return None
        future = Future()
        future.set_result(self.table[task_record["func_name"]])
        return future

    def update_memo_result(self, task_record, result):
        self.table[task_record["func_name"]] = result

    def update_memo_exception(self, task_record, exception):
        self.calls.append(type(exception).__name__)

    def close(self):
        self.calls.append("close")


@python_app(cache=True)
def now(x):
    return x


@python_app(cache=True)
def fails():
    raise LookupError


mine = ByName()
with parsl.load(Config(memoizer=mine)):
    assert now(1).result() == 1
    assert now(2).result() == 1
    assert isinstance(fails().exception(), LookupError)
assert mine.calls[0] == "start"
assert mine.calls[-1] == "close"
assert mine.calls.count("check") >= 3
assert "LookupError" in mine.calls
print("OK")
