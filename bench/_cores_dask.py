"""Dask's scheduler state under the driver of `_cores`: its own transitions, and no connection.

What it would send is counted and dropped, as ours is; its plugins are left out, to its advantage.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from _cores import SLOTS, WORKERS, Graph

CLIENT = "bench"


class Dask:
    """Tasks come as one graph, which is the cheapest way for it."""

    name = "dask"

    def __init__(self) -> None:
        import logging

        from distributed.core import Status
        from distributed.scheduler import ClientState, Scheduler, WorkerState

        logging.getLogger("distributed").setLevel(logging.ERROR)
        self.loop = asyncio.new_event_loop()
        self.sent: list[tuple[str, dict[str, Any]]] = []
        self.keys: list[str] = []
        self.machine = s = self.loop.run_until_complete(self._make(Scheduler))
        s.plugins.clear()
        s.extensions.pop("spans", None)
        s.send_all = self._send_all
        s.clients[CLIENT] = ClientState(CLIENT)
        for number in range(WORKERS):
            address = f"tcp://10.0.0.{number + 1}:1"
            ws = WorkerState(
                address=address, status=Status.running, pid=1, name=address, nthreads=SLOTS,
                memory_limit=1 << 34, local_directory="", nanny="", server_id=address,
                services={}, versions={}, extra={}, scheduler=s,
            )  # fmt: skip
            s.workers[address] = ws
            s.running.add(ws)
            s.total_nthreads += SLOTS
            s.check_idle_saturated(ws)

    async def _make(self, scheduler: Any) -> Any:
        return scheduler(dashboard=False, dashboard_address=":0", validate=False, jupyter=False)

    def _send_all(self, client_msgs: Any, worker_msgs: dict[str, list[dict[str, Any]]]) -> None:
        for address, messages in worker_msgs.items():
            self.sent += [(address, m) for m in messages if m["op"] == "compute-task"]

    def admit(self, graph: Graph) -> None:
        from dask._task_spec import Task, TaskRef

        first = len(self.keys)
        dsk = {}
        for needs in graph:
            key = f"inc-{len(self.keys):032x}"
            refs = [TaskRef(self.keys[first + i]) for i in needs]
            dsk[key] = Task(key, _inc, *refs)
            self.keys.append(key)
        self.machine._create_taskstate_from_graph(
            start=time.time(), dsk=dsk, keys=set(dsk), ordered={k: i for i, k in enumerate(dsk)},
            client=CLIENT, annotations_by_type={}, global_annotations=None, stimulus_id="admit",
            submitting_task=None, span_metadata={}, fifo_timeout=0.0,
        )  # fmt: skip

    def run(self) -> float:
        took = 0.0
        while self.sent:
            sent, self.sent = self.sent, []
            for address, m in sent:
                started = time.process_time()
                self.machine.handle_task_finished(
                    key=m["key"], worker=address, stimulus_id="done", run_id=m["run_id"],
                    metadata={}, nbytes=8, typename="int", type=b"", thread=1, startstops=(
                        {"action": "compute", "start": 1.0, "stop": 1.00001},),
                )  # fmt: skip
                took += time.process_time() - started
        return took

    def release(self) -> None:
        self.machine.client_releases_keys(self.keys, CLIENT)

    def left(self) -> int:
        return len(self.machine.tasks)


def _inc(*_values: int) -> int:
    return 0
