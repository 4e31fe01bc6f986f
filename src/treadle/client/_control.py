"""How a client watches and steers its cluster."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any, Final, NoReturn

from treadle import wire
from treadle.client._base import ClientBase, Flow
from treadle.client._checks import checked_count, checked_name, checked_names, checked_seconds
from treadle.client._futures import ClientFuture
from treadle.client._nests import each
from treadle.client._waiting import settled
from treadle.cluster._ledger import CALLS
from treadle.cluster._versions import versions_here
from treadle.errors import TreadleError, UnsupportedFeatureError

if TYPE_CHECKING:
    from treadle.wire import TaskId

#: An answer takes so much longer than what was asked for may.
_MORE_S: Final = 30.0
#: So often it is looked whether the workers are still there that a call runs on.
_LOOK_S: Final = 5.0
#: What a worker may be that is given something to run.
_RUNS: Final = ("running", "paused")
_ON_ERROR: Final = ("raise", "return", "ignore")
_NUMBERED: Final = re.compile(r".*-([0-9a-f]{1,6})-([0-9]{12,13})", re.DOTALL)


class ControlCalls(ClientBase):
    """What a client asks of its cluster."""

    # --- one task --------------------------------------------------------------------------------

    def explain(self, future: ClientFuture[Any] | str) -> str:
        """Why this task is where it is, in one sentence. A key will do for a future."""
        id = self._id_of(future)
        flow: Flow[str] = self._ask(lambda ask: wire.Explain(ask, id))
        return self._do(flow)

    def story(self, future: ClientFuture[Any] | str) -> list[str]:
        """What has happened to this task, a line each, oldest first. A key will do for a future."""
        id = self._id_of(future)
        flow: Flow[list[str]] = self._ask(lambda ask: wire.Story(ask, id))
        return self._do(flow)

    def call_stack(
        self,
        futures: Any = None,
        *,
        keys: Sequence[str] = (),
        workers: str | Sequence[str] | None = None,
    ) -> dict[str, dict[str, list[str]]]:
        """Where tasks are just now, also in code that lets nobody else run.

        Args:
            futures: futures in any shape; None: all tasks that run.
            keys: keys of others.
            workers: only there.

        Returns:
            by worker and key: 'file:line in function' of each frame, outermost first. What does not
            run (any more) is not in it.
        """
        ids = None
        if futures is not None or keys:
            named = (*each(futures, ClientFuture), *each(futures, str), *keys)
            ids = tuple(map(self._id_of, named))
        return self._do(self._call_stack(ids, checked_names(workers)))

    def _call_stack(
        self, ids: tuple[TaskId, ...] | None, workers: tuple[str, ...]
    ) -> Flow[dict[str, dict[str, list[str]]]]:
        if ids == ():
            return {}
        answers = yield from self._inquire("call_stack", workers, ids=ids or ())
        return {
            worker: {self._key(id, key): list(frames) for id, key, frames in rows}
            for worker, rows in answers.items()
            if rows
        }

    def _key(self, id: TaskId, key: str) -> str:
        """What a task is called here."""
        mine = self._find(id)
        return key if mine is None else mine.key

    def _id_of(self, future: ClientFuture[Any] | str) -> TaskId:
        """The identifier of a future, or of what is called so."""
        if isinstance(future, ClientFuture):
            return self._mine(future).id
        for mine in self._all():
            if mine.key == future:
                return mine.id
        checked_name("a key", future)
        # A key that was made of a number; what users choose does not look like that.
        numbered = _NUMBERED.fullmatch(future)
        if numbered is not None and int(numbered[2]) >= CALLS:
            return wire.task_id(int(numbered[1], 16), int(numbered[2]))
        return future

    # --- workers ---------------------------------------------------------------------------------

    def processing(self, workers: str | Sequence[str] | None = None) -> dict[str, list[str]]:
        """The keys of what these workers (None: all) have been given to do, in that order."""
        names = checked_names(workers)
        flow: Flow[dict[str, list[str]]] = self._ask(lambda ask: wire.Processing(ask, names))
        return self._do(flow)

    def nthreads(self, workers: str | Sequence[str] | None = None) -> dict[str, int]:
        """How many tasks each of these workers (None: all) runs at a time: its slots."""
        return self._do(self._nthreads(checked_names(workers)))

    def ncores(self, workers: str | Sequence[str] | None = None) -> dict[str, int]:
        """The same as `nthreads`."""
        return self.nthreads(workers)

    def _nthreads(self, workers: tuple[str, ...]) -> Flow[dict[str, int]]:
        infos = yield from self._infos(workers)
        return {name: int(info["nthreads"]) for name, info in infos.items()}

    def scheduler_info(self) -> dict[str, Any]:
        """What the scheduler knows of itself and its workers.

        Returns:
            'id' of the run, and 'workers': by name, what each has ('nthreads', 'resources',
            'memory_limit', 'host', ...) and does ('status', 'processing', 'results', 'nbytes', ...).
        """
        return self._do(self._scheduler_info())

    def _scheduler_info(self) -> Flow[dict[str, Any]]:
        infos = yield from self._infos(())
        return {"type": "Scheduler", "id": self._session.home.run, "workers": infos}

    def wait_for_workers(self, n_workers: int = 1, timeout: float | None = None) -> int:
        """Wait until so many workers are there; how many there are.

        Raises:
            TimeoutError: they are not, in so many seconds.
        """
        count = checked_count("n_workers", n_workers)
        return self._do(self._wait_for_workers(count, checked_seconds("timeout", timeout)))

    def _wait_for_workers(self, count: int, timeout: float | None) -> Flow[int]:
        patience = None if timeout is None else timeout + _MORE_S
        there = yield from self._ask(lambda ask: wire.Muster(ask, count, timeout), patience)
        if there is None:
            infos = yield from self._infos(())
            raise TimeoutError(
                f"{count} workers are wanted, and {len(infos)} are there after {timeout:g} s"
                + (f": {', '.join(sorted(infos)[:10])}" if infos else "")
            )
        return int(there)

    def retire_workers(
        self, workers: str | Sequence[str], *, timeout: float | None = None
    ) -> list[str]:
        """Send these workers away, once what runs has ended and their data is on others.

        Returns:
            their names.

        Raises:
            TreadleError: one is not known, or an actor lives there, which cannot move; then nothing
                was done.
            TimeoutError: they have not gone in so many seconds; they go all the same.
        """
        if workers is None:
            raise ValueError(
                "retire_workers(): name the workers; without any no work could be done"
            )
        names = checked_names(workers)
        return self._do(self._retire(names, checked_seconds("timeout", timeout)))

    def _retire(self, workers: tuple[str, ...], timeout: float | None) -> Flow[list[str]]:
        ask = self._ask(lambda ask: wire.Retire(ask, workers, careful=True), timeout)
        try:
            yield from ask
        except TimeoutError:
            names = ", ".join(workers[:10])
            raise TimeoutError(
                f"retire_workers: {names} have not gone after {timeout:g} s; they take nothing new, "
                f"and go when what runs there has ended and their data is elsewhere"
            ) from None
        return list(workers)

    def restart(self, timeout: float | None = 60.0, *, wait_for_workers: bool = True) -> None:
        """Forget all tasks and all data of all clients, and have all workers begin anew.

        All futures of all clients are cancelled, or, if they were finished, their results are lost.

        Args:
            timeout: seconds until the workers must be back; None: any.
            wait_for_workers: wait for that.

        Raises:
            TimeoutError: they are not.
        """
        timeout = checked_seconds("timeout", timeout)
        return self._do(self._restart(timeout if wait_for_workers else 0.0, wait_for_workers))

    def _restart(self, timeout: float | None, waits: bool) -> Flow[None]:
        patience = None if timeout is None else timeout + _MORE_S
        back = yield from self._ask(lambda ask: wire.Restart(ask, timeout), patience)
        if back is None and waits:
            raise TimeoutError(f"not all workers are back after {timeout:g} s; work can go on")

    # --- code in all workers ---------------------------------------------------------------------

    def run(
        self,
        function: Callable[..., Any],
        *args: Any,
        workers: str | Sequence[str] | None = None,
        wait: bool = True,
        on_error: str = "raise",
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Call a function once in a process of each worker, beside its tasks and out of turn.

        Args:
            function: the function; a coroutine function is awaited there.
            *args: its arguments.
            workers: only there; None: on all.
            wait: False: do not wait; there are futures instead of results.
            on_error: 'raise' what was raised first, 'return' it in place of a result, or 'ignore'
                those workers.
            **kwargs: its keyword arguments.

        Returns:
            results by worker.
        """
        if on_error not in _ON_ERROR:
            raise ValueError(f"on_error={on_error!r}: give {', '.join(map(repr, _ON_ERROR))}")
        return self._do(self._run(function, args, kwargs, checked_names(workers), wait, on_error))

    def _run(
        self,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        workers: tuple[str, ...],
        wait: bool,
        on_error: str,
    ) -> Flow[dict[str, Any]]:
        me: Any = self
        infos = yield from self._infos(workers)
        there = [n for n, info in infos.items() if workers or info["status"] in _RUNS]
        futures: dict[str, ClientFuture[Any]] = {}
        for name in there:
            options = wire.Options(slots=0, workers=(name,))
            futures[name] = me._submit(function, args, kwargs, None, options, False)
        if not wait:
            return futures
        yield from self._all_run(futures)
        results: dict[str, Any] = {}
        for name, future in futures.items():
            try:
                results[name] = future.result()
            except (Exception, CancelledError) as error:
                if on_error == "raise":
                    raise
                if on_error == "return":
                    results[name] = error
        return results

    def _all_run(self, futures: Mapping[str, ClientFuture[Any]]) -> Flow[None]:
        """Wait for calls, each of which can run on one worker alone."""
        calls = list(futures.values())
        while True:
            try:
                yield from settled(calls, len(calls), _LOOK_S, bring=True)
            except TimeoutError:
                # A task waits for a worker for ever; nobody tells us when one has gone.
                infos = yield from self._infos(())
                for name in futures.keys() - infos.keys():
                    self.cancel([futures[name]], reason=f"worker {name} has gone")
            else:
                return

    def run_on_scheduler(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> NoReturn:
        """There is no such thing.

        Raises:
            UnsupportedFeatureError: always.
        """
        raise UnsupportedFeatureError(
            f"run_on_scheduler({getattr(function, '__name__', function)!r}): a scheduler loads and "
            f"runs nothing that users send, so that no fault of theirs can end everybody's work; "
            f"run() runs it on the workers, and scheduler_info(), processing(), explain() and "
            f"story() tell what the scheduler knows",
            "Client",
        )

    # --- logs and versions -----------------------------------------------------------------------

    def get_worker_logs(
        self, n: int | None = None, workers: str | Sequence[str] | None = None
    ) -> dict[str, list[tuple[str, str]]]:
        """The newest `n` (None: all that are kept) lines of workers' logs: (level, line), by worker.

        What tasks print is not in them: it is shown by their client, and kept in the run directory.
        """
        most = 0 if n is None else checked_count("n", n, least=1)
        return self._do(self._worker_logs(most, checked_names(workers)))

    def _worker_logs(
        self, most: int, workers: tuple[str, ...]
    ) -> Flow[dict[str, list[tuple[str, str]]]]:
        answers = yield from self._inquire("logs", workers, most=most)
        return {worker: _lines(lines) for worker, lines in answers.items()}

    def get_scheduler_logs(self, n: int | None = None) -> list[tuple[str, str]]:
        """The newest `n` (None: all that are kept) lines of the scheduler's log: (level, line)."""
        return self._do(self._scheduler_logs(0 if n is None else checked_count("n", n, least=1)))

    def _scheduler_logs(self, most: int) -> Flow[list[tuple[str, str]]]:
        answers = yield from self._inquire("logs", (), most=most, scheduler=True)
        return _lines(answers["scheduler"])

    def get_versions(
        self, check: bool = False, packages: Sequence[str] = ()
    ) -> dict[str, dict[str, Any]]:
        """What this program, the scheduler and the workers run on.

        Args:
            check: it is an error if packages differ that matter to what is sent.
            packages: others whose versions are wanted, and compared.

        Returns:
            'client' and 'scheduler': each 'host' and 'packages'; 'workers': the same, by name.

        Raises:
            ValueError: they differ; the text is a table of them.
        """
        names = tuple([checked_name("packages", name) for name in packages])
        return self._do(self._versions(check, names))

    def _versions(self, check: bool, packages: tuple[str, ...]) -> Flow[dict[str, dict[str, Any]]]:
        here = versions_here(packages)
        answers = yield from self._inquire("versions", (), ids=packages, scheduler=True)
        scheduler = answers.pop("scheduler")
        if check:
            _compare({"client": here, "scheduler": scheduler, **answers})
        return {"client": here, "scheduler": scheduler, "workers": answers}

    # --- questions to the shells -----------------------------------------------------------------

    def _infos(self, workers: tuple[str, ...]) -> Flow[dict[str, dict[str, Any]]]:
        infos = yield from self._ask(lambda ask: wire.Inquire(ask, "info", workers))
        return dict(infos)

    def _inquire(
        self,
        what: str,
        workers: tuple[str, ...],
        *,
        ids: tuple[TaskId, ...] = (),
        most: int = 0,
        scheduler: bool = False,
    ) -> Flow[dict[str, Any]]:
        """Ask workers' shells, and the scheduler's.

        Raises:
            TreadleError: one has no answer.
        """
        answers, errors = yield from self._ask(
            lambda ask: wire.Inquire(ask, what, workers, ids, most, scheduler)
        )
        if errors:
            told = "; ".join(f"{name}: {why}" for name, why in errors.items())
            raise TreadleError(f"no answer to {what!r} of {told}")
        return dict(answers)


def _lines(rows: Any) -> list[tuple[str, str]]:
    return [(str(level), str(line)) for level, line in rows]


def _compare(versions: Mapping[str, Mapping[str, Any]]) -> None:
    """See that all have the same packages.

    Raises:
        ValueError: they have not.
    """
    rows = []
    for package in versions["client"]["packages"]:
        found = {who: each["packages"].get(package) for who, each in versions.items()}
        if len(set(found.values())) > 1:
            told = ", ".join(f"{who} has {version or 'none'}" for who, version in found.items())
            rows.append(f"{package}: {told}")
    if rows:
        raise ValueError("versions differ; install the same everywhere:\n  " + "\n  ".join(rows))
