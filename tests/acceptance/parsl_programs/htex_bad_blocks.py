"""Blocks that cannot work: the tasks fail, and say so."""

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.executors.errors import BadStateException
from parsl.jobs.error_handlers import windowed_error_handler
from parsl.providers import LocalProvider


@python_app
def work():
    return 1


def main(handler):
    executor = HighThroughputExecutor(
        label="broken",
        encrypted=False,
        address="127.0.0.1",
        max_workers_per_node=1,
        block_error_handler=handler,
        provider=LocalProvider(
            init_blocks=3, max_blocks=3, worker_init="echo there is no loom >&2; exit 1"
        ),
    )
    with parsl.load(Config(executors=[executor], strategy_period=0.5)):
        error = work().exception()
        assert isinstance(error, BadStateException), repr(error)
        assert executor.bad_state_is_set
        assert executor.executor_exception is not None
        assert work().exception() is not None


if __name__ == "__main__":
    main(True)
    main(windowed_error_handler)
    print("OK")
