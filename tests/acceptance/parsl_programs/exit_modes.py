"""What `with parsl.load(...)` does at its end: cleanup, wait or skip."""

import threading

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.errors import ConfigurationError, NoDataFlowKernelError


@python_app
def wait_for(event):
    event.wait(30)
    return "done"


def is_loaded():
    try:
        parsl.dfk()
    except NoDataFlowKernelError:
        return False
    return True


gate = threading.Event()
with parsl.load(Config(exit_mode="wait")) as kernel:
    future = wait_for(gate)
    threading.Timer(0.2, gate.set).start()
assert future.done(), "mode wait: the tasks are done"
assert not is_loaded()

with parsl.load(Config(exit_mode="cleanup")) as kernel:
    assert wait_for(gate).result() == "done"
assert not is_loaded()

with parsl.load(Config(exit_mode="skip")) as kernel:
    assert wait_for(gate).result() == "done"
assert is_loaded()
assert wait_for(gate).result() == "done", "mode skip: it goes on"
kernel.cleanup()
parsl.clear()

try:
    with parsl.load(Config(exit_mode="wait")) as kernel:
        raise KeyError("from the block")
except KeyError:
    pass
else:
    raise AssertionError("errors of the block are not swallowed")

refused = False
try:
    with parsl.load(Config(exit_mode="sometimes")):
        pass
except ConfigurationError:
    refused = True
except Exception as e:
    refused = type(e).__name__ == "TypeCheckError"  # Parsl leaves it to its type checker
assert refused, "an unknown mode must be refused"
print("OK")
