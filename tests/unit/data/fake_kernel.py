"""A kernel for the data manager: runs each task as soon as what it waits for is done."""

from __future__ import annotations

import itertools
import pickle
from concurrent.futures import Future

from treadle.data_provider.data_manager import DataManager
from treadle.data_provider.prepare import prepare_files


class FakeKernel:
    """Unwraps futures among arguments, and sends every call through pickle, as a wire does."""

    def __init__(self, storage_access=None, working_dir=None):
        self.submitted = []
        self._ids = itertools.count()
        self.dm = DataManager(
            submit=self.submit,
            staging_for=lambda label: storage_access,
            working_dir_for=lambda label: None if working_dir is None else str(working_dir),
        )

    def submit(self, func, app_args, executors="all", cache=False, *, app_kwargs=None):
        self.submitted.append((func.__name__, tuple(executors), dict(app_kwargs or {})))
        future = Future()
        future.tid = next(self._ids)
        self._when_ready(future, func, tuple(app_args), dict(app_kwargs or {}))
        return future

    def call(self, func, *args, **kwargs):
        """What the kernel does for an app: prepare its files, then run it."""
        app_fu = Future()
        app_fu.tid = next(self._ids)
        call = prepare_files(self.dm, args, kwargs, func, "threads", app_fu, app_fu.tid)
        app_fu.outputs = call.outputs if call else []
        if call:
            func, args, kwargs = call.func, call.args, call.kwargs
        self._when_ready(app_fu, func, tuple(args), kwargs)
        return app_fu

    def _when_ready(self, future, func, args, kwargs):
        listed = [v for v in (*args, *kwargs.values()) if isinstance(v, (list, tuple))]
        waiting = [
            v
            for v in itertools.chain(args, kwargs.values(), *listed)
            if isinstance(v, Future) and not v.done()
        ]
        if waiting:
            waiting[0].add_done_callback(lambda _: self._when_ready(future, func, args, kwargs))
            return
        try:
            call = (_unwrap(args), {k: _unwrap(v) for k, v in kwargs.items()})
            args, kwargs = pickle.loads(pickle.dumps(call))
            future.set_result(func(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)


def _unwrap(value):
    if isinstance(value, Future):
        return value.result()
    if isinstance(value, (list, tuple)):
        return type(value)(_unwrap(item) for item in value)
    return value
