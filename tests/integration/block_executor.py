"""An executor of blocks as somebody would write it who knows only its page.

Its blocks are processes that take tasks from a Unix socket, one at a time.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import tempfile
import threading
from concurrent.futures import Future
from multiprocessing.connection import Connection, Listener
from typing import Any

from treadle.executors.status_handling import BlockProviderExecutor

WORKER = """
import sys
from multiprocessing.connection import Client
with Client(sys.argv[1], family="AF_UNIX") as link:
    link.send(sys.argv[2])
    while True:
        try:
            call = link.recv()
        except EOFError:
            break
        try:
            link.send((True, call()))
        except Exception as error:
            link.send((False, error))
"""


class Toy(BlockProviderExecutor):
    """Sends pickled calls to the workers of its blocks."""

    pickles_tasks = True

    def __init__(self, label: str = "toy", *, provider: Any, block_error_handler: Any = True):
        super().__init__(provider=provider, block_error_handler=block_error_handler)
        self.label = label
        self.command = f"{sys.executable} -c '{WORKER}' {{address}} {{block}}"
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._open = 0
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.seen: set[str] = set()

    def start(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._listener = Listener(os.path.join(self._folder.name, "door"), family="AF_UNIX")
        self._start(self._accept)

    def _start(self, run: Any, *args: Any) -> None:
        self._threads.append(threading.Thread(target=run, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                link = self._listener.accept()
            except (OSError, EOFError):
                return
            block = link.recv()
            if block is None:
                return
            self.seen.add(block)
            self._start(self._serve, link)

    def _serve(self, link: Connection) -> None:
        while True:
            item = self._queue.get()
            if item is None:
                link.close()
                return
            future, call = item
            try:
                link.send(call)
                good, answer = link.recv()
            except (EOFError, OSError):  # the block was killed: another one takes the task
                self._queue.put(item)
                return
            with self._lock:
                self._open -= 1
            with contextlib.suppress(Exception):
                future.set_result(answer) if good else future.set_exception(answer)

    def submit(self, func, resource_specification, *args, **kwargs):
        assert not args
        assert not kwargs
        if self.bad_state_is_set:
            raise self.executor_exception
        future: Future[Any] = Future()
        with self._lock:
            self._open += 1
        self.tasks[len(self.tasks)] = future
        self._queue.put((future, func))
        return future

    def shutdown(self, block: bool = True) -> None:
        from multiprocessing.connection import Client

        with Client(self._listener.address, family="AF_UNIX") as link:
            link.send(None)
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._listener.close()
        self._folder.cleanup()

    @property
    def outstanding(self) -> int:
        return self._open

    @property
    def workers_per_node(self) -> int:
        return 1

    def _get_launch_command(self, block_id: str) -> str:
        return self.command.format(address=self._listener.address, block=block_id)
