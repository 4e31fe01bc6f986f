"""Looking into a kernel: states, records, counts, submodules by attribute."""

import io
import logging

import parsl
from parsl.config import Config

assert parsl.dataflow.states.States.exec_done.value == 3
assert parsl.app.errors.AppTimeout.__name__ == "AppTimeout"
assert parsl.data_provider.files.File is parsl.File
assert parsl.AUTO_LOGNAME == -1
assert isinstance(parsl.__version__, str)

stream = io.StringIO()
undo = parsl.set_stream_logger(level=logging.INFO, stream=stream)
undo_file = parsl.set_file_logger("parsl-own.log", level=logging.DEBUG)
logging.getLogger("parsl").warning("from the program")
assert "from the program" in stream.getvalue()
with open("parsl-own.log") as f:
    assert "from the program" in f.read()


@parsl.python_app
def work(x):
    return x


@parsl.python_app
def broken():
    raise ValueError


with parsl.load(Config(garbage_collect=False, initialize_logging=False)) as kernel:
    futures = [work(i) for i in range(5)]
    bad = broken()
    kernel.wait_for_current_tasks()
    assert kernel.task_count == 6
    assert sorted(kernel.tasks) == [f.tid for f in futures] + [bad.tid]
    record = kernel.tasks[futures[0].tid]
    assert record["func_name"] == "work"
    assert record["status"] == parsl.dataflow.states.States.exec_done
    assert record["app_fu"] is futures[0]
    assert list(record["args"]) == [0]
    assert record["fail_count"] == 0
    assert record.get("no such key") is None
    assert "status" in record
    assert kernel.tasks[bad.tid]["fail_count"] == 1
    assert len(kernel.tasks[bad.tid]["fail_history"]) == 1
    assert futures[0].task_record is record
    kernel.log_task_states()
    assert kernel.config.retries == 0
    assert isinstance(repr(kernel.config), str)
undo()
undo_file()
before = stream.getvalue()
logging.getLogger("parsl").warning("after")
assert stream.getvalue() == before
print("OK")
