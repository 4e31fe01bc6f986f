"""Several kernels in one program; apps that say which one they belong to."""

import parsl
from parsl import bash_app, join_app, python_app
from parsl.config import Config
from parsl.dataflow.dflow import DataFlowKernel
from parsl.executors.threads import ThreadPoolExecutor


def kernel_of(label, threads):
    return DataFlowKernel(
        config=Config(executors=[ThreadPoolExecutor(label=label, max_threads=threads)])
    )


first, second = kernel_of("first", 1), kernel_of("second", 2)
assert first.run_dir != second.run_dir


@python_app(data_flow_kernel=first)
def in_first(x):
    import threading

    return x + 1, threading.current_thread().name


@python_app(data_flow_kernel=second, executors=["second"])
def in_second(pair):
    import threading

    return pair[0] * 10, threading.current_thread().name


@bash_app(data_flow_kernel=second)
def shell(text, stdout=None):
    return f"echo {text}"


@join_app(data_flow_kernel=first)
def joined(n):
    return [in_first(i) for i in range(n)]


a = in_first(1)
b = in_second(a)
value, thread_of_first = a.result()
assert value == 2
result, thread_of_second = b.result()
assert result == 20
assert thread_of_first != thread_of_second
assert shell("hi", stdout="hi.txt").result() == 0
assert [v for v, _ in joined(3).result()] == [1, 2, 3]

first.wait_for_current_tasks()
second.wait_for_current_tasks()
assert first.task_count >= 5
assert second.task_count == 2
first.cleanup()
assert in_second((4, "")).result()[0] == 40, "the other one goes on"
second.cleanup()

try:
    in_first(1).result()
except Exception:
    pass
else:
    raise AssertionError("a kernel that was cleaned up runs nothing")

default = parsl.load()


@python_app
def in_default():
    return "default"


assert in_default().result() == "default"
default.cleanup()
print("OK")
