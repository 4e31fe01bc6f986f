"""The blocks of a cluster executor: how their workers are started, who of them is there, how they go.

What workers need stands in files below the executor's own directory, which all nodes must see: how
the scheduler is reached, what a worker is to be, and for each block what it proves itself with on a
network. Nothing secret stands on a command line.
"""

from __future__ import annotations

import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from treadle import wire
from treadle.cluster._connection import write_private
from treadle.cluster._options import slots_here, worker_settings
from treadle.errors import ScaleOutFailed
from treadle.executors.status_handling import BlockProviderExecutor
from treadle.log import logger

if TYPE_CHECKING:
    from treadle.cluster._session import Session
    from treadle.cluster._settings import NodeSettings, WorkerSettings
    from treadle.providers import JobStatus

_log = logger("executors")

#: The file in which the scheduler writes how it is reached.
CONNECTION: Final = "connection.json"

#: How long the scheduler may take to start, and to answer.
_START_S: Final = 60.0
_ANSWER_S: Final = 10.0
#: Who is there is not asked again within this time.
_FRESH_S: Final = 0.05

#: Between two looks at workers that are to finish what they run.
_LOOK_S: Final = 0.1

#: What is decided on the worker's own node, or said on its command line.
_NODE_S_OWN: Final = frozenset({"id", "block", "host", "slots", "log_dir", "ends_in_s"})


class Blocks:
    """The workers of blocks, as their scheduler knows them. Nothing here is called on its thread.

    Args:
        session: the link to the scheduler.
        place: says in what directory the files for workers are; all nodes see it.
        settings: of a worker, as far as they do not depend on its node.
        sizing: options of `treadle worker` that say how many slots one has.
        ends_in_s: for how long a block's workers are there; None: until they are told to go.
        log_root: where workers write what tasks print, a directory for each block.
        template: the line around a worker's own, which stands in it as `{command}`.
    """

    def __init__(
        self,
        session: Session,
        *,
        place: Callable[[], str],
        settings: Mapping[str, Any],
        sizing: Sequence[str] = (),
        ends_in_s: float | None = None,
        log_root: str = "",
        template: str = "{command}",
    ) -> None:
        self._session = session
        self._place = place
        self._settings = {n: value for n, value in settings.items() if n not in _NODE_S_OWN}
        self._sizing = list(sizing)
        self._ends_in_s = ends_in_s
        self._log_root = log_root
        self._template = template
        #: Where the files are; known when there is a scheduler.
        self._directory = ""
        self._asked_at = float("-inf")
        #: Workers that are there: their blocks, and how many tasks each has been given.
        self._workers: dict[str, tuple[str, int]] = {}
        #: How many slots the last worker had that was there; None: none has been yet.
        self.slots: int | None = None
        #: How many workers of each block there have ever been.
        self._arrivals: dict[str, int] = {}
        #: Blocks that are to end, or have ended.
        self._leaving: set[str] = set()
        #: Since when a block has had nothing to do.
        self._idle_since: dict[str, float] = {}

    # --- they come --------------------------------------------------------------------------------

    def command(self, block_id: str) -> str:
        """The line for a shell that starts a worker of this block.

        Raises:
            ScaleOutFailed: the scheduler is not there, or gives the block no credential.
        """
        self._wait_for_scheduler()
        parts = [sys.executable, "-P", "-m", "treadle", "worker"]
        parts += ["--connection-file", os.path.join(self._directory, CONNECTION)]
        parts += ["--settings", self._write_settings(), "--block", block_id]
        if credential := self._credential(block_id):
            parts += ["--credential", credential]
        if self._ends_in_s is not None:
            parts += ["--walltime", str(self._ends_in_s)]
        logs = self._log_root or self._directory
        parts += ["--log-dir", os.path.join(logs, f"block-{block_id}")]
        return self._template.replace("{command}", shlex.join(parts + self._sizing))

    def _wait_for_scheduler(self) -> None:
        deadline = time.monotonic() + _START_S
        try:
            self._session.wait_until_welcome(_START_S)
        except TimeoutError:
            raise ScaleOutFailed(f"the scheduler has not answered for {_START_S:g} s") from None
        directory = self._place()
        connection_file = os.path.join(directory, CONNECTION)
        while not os.path.exists(connection_file):
            if time.monotonic() > deadline:
                raise ScaleOutFailed(f"the scheduler has not written {connection_file}")
            time.sleep(0.01)
        self._directory = directory

    def _write_settings(self) -> str:
        path = os.path.join(self._directory, "worker.json")
        write_private(path, msgspec.json.encode(self._settings))
        return path

    def _credential(self, block_id: str) -> str:
        """The file with what the block's workers prove themselves with; '' if they need nothing."""
        issued = self._ask(lambda ask: wire.Issue(ask, block_id))
        if issued is None or issued.error:
            why = "the scheduler does not answer" if issued is None else issued.error
            raise ScaleOutFailed(f"no credential for block {block_id}: {why}")
        if not issued.credential:
            return ""
        path = self._credential_file(block_id)
        write_private(path, issued.credential)
        return path

    def _credential_file(self, block_id: str) -> str:
        return os.path.join(self._directory, f"block-{block_id}.pem")

    # --- they are there ---------------------------------------------------------------------------

    def look(self) -> None:
        """Ask the scheduler who is there; what it does not answer stays as it was."""
        now = time.monotonic()
        if now - self._asked_at < _FRESH_S:
            return
        self._asked_at = now
        reply = self._ask(wire.Roll)
        if reply is None or reply.error:
            return
        present, arrivals = reply.value
        self._workers = {row[0]: (row[1], row[4]) for row in present}
        self.slots = present[-1][3] if present else self.slots
        self._arrivals.update((block, count) for block, count in arrivals)
        busy: dict[str, int] = {}
        for block, count in self._workers.values():
            busy[block] = busy.get(block, 0) + count
        idle = [block for block, count in busy.items() if not count]
        self._idle_since = {block: self._idle_since.get(block, now) for block in idle}

    def workers_of(self, block_id: str) -> int:
        """How many workers of a block have ever been there."""
        return self._arrivals.get(block_id, 0)

    def idle_s(self, block_id: str) -> float | None:
        """For how long a block has had nothing to do; None: it has, or is not there."""
        since = self._idle_since.get(block_id)
        return None if since is None else time.monotonic() - since

    # --- they go ----------------------------------------------------------------------------------

    def drain(self, block_ids: Iterable[str], timeout_s: float) -> None:
        """Have the workers of these blocks finish what they run, and their results moved.

        If no other worker is left that could take the results, they come to this process.
        """
        self._asked_at = float("-inf")
        self.look()
        leaving = set(block_ids)
        self._leaving |= leaving
        going = [worker for worker, (block, _) in self._workers.items() if block in leaving]
        if not going:
            return
        if all(block in self._leaving for block, _ in self._workers.values()):
            self._end_last(going, leaving, timeout_s)
        elif self._ask(lambda ask: wire.Retire(ask, tuple(going)), timeout_s) is None:
            _log.warning("blocks %s are ended before they had drained", ", ".join(sorted(leaving)))

    def _end_last(self, workers: Sequence[str], blocks: Iterable[str], timeout_s: float) -> None:
        """There is nobody to take the results of these workers: they come here, as they are."""
        if any(self._workers[worker][1] for worker in workers):
            # They get nothing new; that they hold what they cannot move keeps them, so we look.
            self._session.request(lambda ask: wire.Retire(ask, tuple(workers)), _ignore)
            deadline = time.monotonic() + timeout_s
            while any(self._workers.get(w, ("", 0))[1] for w in workers):
                if time.monotonic() >= deadline:
                    break
                time.sleep(_LOOK_S)
                self.look()
        self._session.bring_home()
        for block in blocks:
            self.ended(block)

    def ended(self, block_id: str) -> None:
        """A block has ended: nobody may speak for it any longer."""
        session = self._session
        session.call(partial(session.ledger.say, wire.Revoke(block_id)))
        session.request(wire.Roll, _ignore)  # it goes with the next message that is asked
        try:
            os.unlink(self._credential_file(block_id))
        except OSError:
            pass  # it needed none

    # --- questions --------------------------------------------------------------------------------

    def _ask(self, make: Callable[[int], wire.Message], timeout_s: float = _ANSWER_S) -> Any:
        """The scheduler's answer; None: there is none in time."""
        answer: list[Any] = []
        there = threading.Event()
        self._session.request(make, partial(_keep, answer, there))
        there.wait(timeout_s)
        return answer[0] if answer else None


class ClusterOfBlocks(BlockProviderExecutor):
    """The part of a cluster executor that has blocks."""

    #: More than the options say, of executors that derive from it.
    _most_slots: int | None = None
    _size_per_slot: int = 0
    _block_ends_in_s: float | None = None
    _launch_template: str = "{command}"
    _log_root: str | None = None

    _options: dict[str, Any]
    _blocks: Blocks | None = None
    _scheduler_ports: tuple[int, int] | None = None

    @property
    def _all_here(self) -> bool:
        """Whether all its workers are on this machine."""
        return self._provider is None or bool(getattr(self._provider, "runs_here", False))

    def _for_blocks(self, settings: NodeSettings) -> NodeSettings:
        """The settings of the scheduler's process, as its blocks need them."""
        scheduler = replace(settings.scheduler, listen_tls=not self._all_here)
        if self._scheduler_ports is not None:
            scheduler = replace(scheduler, ports=self._scheduler_ports)
        return replace(settings, scheduler=scheduler)

    def _open_blocks(self, session: Session, place: Callable[[], str]) -> None:
        """There is a scheduler: blocks may come."""
        provider = self._provider
        if provider is None:
            return
        options = self._options
        settings = worker_settings(options, id="", slots=options["slots"] or 1, log_dir="")
        ends_in_s = self._block_ends_in_s
        self._blocks = Blocks(
            session,
            place=place,
            settings=_as_dict(settings, counts_cores=options["slots"] is not None),
            sizing=self._sizing(),
            ends_in_s=getattr(provider, "walltime_s", None) if ends_in_s is None else ends_in_s,
            log_root=self._log_root or "",
            template=self._launch_template,
        )

    def _sizing(self) -> list[str]:
        """How a worker knows how many slots it has, in words of `treadle worker`."""
        options = self._options
        if options["slots"] is not None:
            return ["--slots", str(options["slots"])]
        words = ["--cores-per-slot", str(options["cores_per_slot"])]
        if self._size_per_slot:
            words += ["--memory-per-slot", f"{self._size_per_slot} B"]
        if self._most_slots is not None:
            words += ["--most-slots", str(self._most_slots)]
        return words

    def _call_for_blocks(self, session: Session) -> None:
        """A task comes. If it is the first one for a while, blocks may have to come, too.

        Raises:
            RuntimeError: none will ever come.
        """
        if self._on_nudge is not None:
            if not session.ledger.open:
                self.nudge()
        elif not self._books.wanted():
            raise RuntimeError(
                f"executor {self.label!r} has no block, and nobody starts any: use it in a kernel, "
                f"treadle.load(Config([executor])), or call its scale_out() yourself"
            )

    @property
    def workers_per_node(self) -> int | float:
        """How many tasks a node runs at once: as workers say, or as this machine would."""
        if self._blocks is not None and self._blocks.slots is not None:
            return self._blocks.slots
        options = self._options
        slots = slots_here(options["slots"], options["cores_per_slot"])
        return slots if self._most_slots is None else min(slots, self._most_slots)

    def _get_launch_command(self, block_id: str) -> str:
        if self._blocks is None:
            raise ScaleOutFailed("the executor does not run")
        return self._blocks.command(block_id)

    def status(self) -> dict[str, JobStatus]:
        """How all blocks are, by id. Asks the scheduler for their workers, and the provider.

        Raises:
            ExecutionProviderException: that cannot be found out now; what was known still counts.
        """
        if self._blocks is not None and self._books.live():
            self._blocks.look()
        return super().status()

    def connected_blocks(self) -> list[str]:
        """The blocks of which workers have been heard, as far as they are remembered."""
        return [block for block in self.blocks_to_job_id if self._workers_of(block)]

    def _workers_of(self, block_id: str) -> int | None:
        return None if self._blocks is None else self._blocks.workers_of(block_id)

    def _idle_s(self, block_id: str) -> float | None:
        return None if self._blocks is None else self._blocks.idle_s(block_id)

    def _drain(self, block_ids: Sequence[str]) -> None:
        if self._blocks is not None:
            self._blocks.drain(block_ids, self._options["drain_period"])

    def _on_block_end(self, block_id: str, status: JobStatus) -> None:
        if self._blocks is not None:
            self._blocks.ended(block_id)


def _as_dict(settings: WorkerSettings, *, counts_cores: bool) -> dict[str, Any]:
    """The settings of a worker whose node is not known yet."""
    found: dict[str, Any] = msgspec.to_builtins(settings)
    if not counts_cores:
        found["resources"].pop("cores", None)
    return found


def _ignore(answer: object) -> None:
    """It does not matter."""


def _keep(answer: list[Any], there: threading.Event, message: Any) -> None:
    answer.append(message)
    there.set()
