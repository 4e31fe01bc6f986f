"""The ready-made configuration for threads, and loading and clearing by hand."""

import parsl
from parsl import python_app
from parsl.configs.local_threads import config
from parsl.errors import ConfigurationError, NoDataFlowKernelError


@python_app
def triple(x):
    return 3 * x


try:
    parsl.dfk()
except NoDataFlowKernelError:
    pass
else:
    raise AssertionError("nothing is loaded yet")

kernel = parsl.load(config)
assert triple(2).result() == 6
assert kernel.config is config
assert [e.label for e in kernel.config.executors] == ["threads"]
assert "threads" in kernel.executors

try:
    parsl.load()
except ConfigurationError:
    pass
else:
    raise AssertionError("a second load must be refused")

parsl.clear()
try:
    parsl.dfk()
except NoDataFlowKernelError:
    pass
else:
    raise AssertionError("cleared")
kernel.cleanup()
print("OK")
