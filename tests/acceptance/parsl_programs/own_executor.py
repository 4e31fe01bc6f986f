"""An executor written by somebody else against the documented interface."""

from concurrent.futures import Future

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.executors import ThreadPoolExecutor
from parsl.executors.base import ParslExecutor
from parsl.executors.errors import InvalidResourceSpecification, UnsupportedFeatureError


class InlineExecutor(ParslExecutor):
    """Runs each task where it is submitted."""

    def __init__(self, label="inline"):
        super().__init__()
        self.label = label
        self.started = self.stopped = False
        self.specifications = []

    def start(self):
        self.started = True

    def submit(self, func, resource_specification, *args, **kwargs):
        self.specifications.append(resource_specification)
        if "nonsense" in resource_specification:
            raise InvalidResourceSpecification({"nonsense"}, "this executor takes cores")
        future = Future()
        try:
            future.set_result(func(*args, **kwargs))
        except Exception as e:
            future.set_exception(e)
        return future

    def shutdown(self):
        self.stopped = True


@python_app(executors=["inline"])
def inline(x, **options):
    if x < 0:
        raise ValueError("negative")
    return x + 1


@python_app(executors=["threads"])
def threaded(x):
    return x * 2


mine = InlineExecutor()
with parsl.load(Config(executors=[mine, ThreadPoolExecutor()], retries=1)) as kernel:
    assert mine.started
    assert mine.run_dir == kernel.run_dir
    assert inline(1).result() == 2
    assert inline(threaded(inline(1))).result() == 5
    assert isinstance(inline(-1).exception(), ValueError)
    assert inline(1, parsl_resource_specification={"cores": 2}).result() == 2
    assert mine.specifications[-1] == {"cores": 2}
    error = inline(1, parsl_resource_specification={"nonsense": 1}).exception()
    assert isinstance(error, InvalidResourceSpecification)
    extra = InlineExecutor("late")
    kernel.add_executors([extra])
    assert extra.started
    assert "late" in kernel.executors
assert mine.stopped
assert extra.stopped
assert issubclass(UnsupportedFeatureError, Exception)
print("OK")
