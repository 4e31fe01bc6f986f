"""A client's books: what it wants, what it has said, what it was told. Pure.

Two rules. *What is wanted is told once*: however often the scheduler says how a task ended, and
whatever it says of a task that nobody here wants, one outcome goes up, and who did not want a
result says so. *What was said is said again* on a new link, until a beat behind it came back; the
scheduler knows a message that it has had before.

For each task there is one entry in `wants`: its name while it is open, then what came of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, Protocol

from treadle import wire
from treadle.cluster._failures import error_of
from treadle.cluster._rows import Bundle, Bundles
from treadle.dataflow._sink import SinkOutcome, SinkTask, Try
from treadle.wire import Failure, Message, TaskId

#: Numbers of a session's tasks: below are a kernel's, from here on those of calls, then data.
CALLS: Final = 2**38
DATA: Final = 2**39

#: Entry of a task of which an error was told, or a cancellation.
ENDED: Final = object()

_DEFAULT = wire.Options()
#: Longest text that a message may have as a name.
_MOST_NAME: Final = 1024


class Value(Protocol):
    """What the books need of a result."""

    def found(self, done: wire.Done) -> None:
        """It, or a part of it, is there (again)."""

    def lost(self) -> None:
        """It is being computed again."""

    def gone(self, error: Callable[[], BaseException]) -> None:
        """It will never be there again."""


class Ledger:
    """The books of one client.

    Args:
        session: the number that its tasks' identifiers begin with.
        name: what it is called among clients.
        lease_s: how long it is remembered without a link.
        value: makes what stands for a result, of a `Done`; `listed=True`: of rows of a map.
    """

    def __init__(
        self, session: int, name: str, lease_s: float, value: Callable[..., Value]
    ) -> None:
        self.name = name
        self.lease_s = lease_s
        self._value = value
        self.number(session)
        #: By task: its name while it is open; then a `Value`, or `ENDED`.
        self.wants: dict[TaskId, Any] = {}
        self.bundles = Bundles()
        #: The same of the time before everything was lost.
        self.past: dict[TaskId, Any] = {}
        #: Said first on each new link to a scheduler that does not know us.
        self.world: wire.World | None = None
        self.codes: dict[bytes, wire.Code] = {}
        #: To be sent next.
        self.out: list[Message] = []
        #: What was sent, each with the number of the beat behind it, until that has come back.
        self.unacked: deque[tuple[int, list[Message]]] = deque()
        #: Requests without an answer.
        self.asks: dict[int, Message] = {}
        #: Told of a kernel's tasks, of calls, and all else that was said; the shell takes them.
        self.told: list[SinkOutcome] = []
        self.called: list[SinkOutcome] = []
        self.news: list[Message] = []
        #: Data that no task uses any longer.
        self.unused: list[TaskId] = []
        #: The scheduler knows us.
        self.attached = False
        #: It must have heard us: if it knows nothing of us any more, all is lost.
        self.known = False
        #: All that was wanted is forgotten there.
        self.forgotten = False
        self._uses: dict[TaskId, tuple[TaskId, ...]] = {}
        self._users: dict[TaskId, int] = {}
        self._batch: list[wire.TaskSpec] = []
        self._table: dict[wire.Options, int] = {}
        self._beat = 1
        self._ask = 0

    def number(self, session: int) -> None:
        """Take this session's numbers; before the first task alone."""
        self.session = session
        self.base = session << wire.NUMBER_BITS

    @property
    def open(self) -> int:
        """How many tasks have not ended."""
        # Counted when asked: for each task it would cost twice what it is worth.
        alone = sum(type(entry) is str for entry in self.wants.values())
        return alone + sum(bundle.left for bundle in self.bundles)

    def values(self) -> list[Any]:
        """What stands for the results that are wanted and there."""
        found = [was for was in self.wants.values() if type(was) is not str and was is not ENDED]
        for bundle in self.bundles:
            found += [part for part in bundle.parts.values() if part is not ENDED]
        return found

    def is_used(self, id: TaskId) -> bool:
        """Whether a task that is wanted needs this data."""
        return id in self._users

    # --- saying ------------------------------------------------------------------------------

    def admit(self, tasks: Iterable[SinkTask]) -> None:
        """New tasks of a kernel, or calls."""
        base, wants, batch, past = self.base, self.wants, self._batch, self.past
        for task in tasks:
            id = base + task.id
            needs: tuple[TaskId, ...] = task.dependencies
            if needs:
                needs = tuple([base + number for number in needs])
                if past and (gone := [need for need in needs if need in past]):
                    self._too_late(task, gone)
                    continue
            call = task.call
            if type(call) is not bytes:
                needs += self._use(id, call.uses)
                call = call.spec
            options = 0 if task.options is None else self._option(task.options)
            if task.rows is None:
                wants[id] = task.name
                batch.append(wire.TaskSpec(id, task.name, call, needs, options))
            else:
                self.bundles.add(id, len(task.rows), task.name)
                rows = tuple(task.rows)
                batch.append(wire.TaskSpec(id, task.name, call, needs, options, rows=rows))

    def submit(self, spec: wire.TaskSpec, options: wire.Options, uses: Sequence[TaskId]) -> None:
        """A new task of a client, as it goes on the wire."""
        needs = (*spec.dependencies, *self._use(spec.id, tuple(uses)))
        self.wants[spec.id] = spec.name
        self._batch.append(
            wire.TaskSpec(
                spec.id,
                spec.name,
                spec.run_spec,
                needs,
                self._option(options),
                spec.actor,
                spec.home,
                metadata=spec.metadata,
            )
        )

    def code(self, code: wire.Code) -> None:
        """Tasks name this function from now on."""
        if code.digest not in self.codes:
            self.codes[code.digest] = code
            self.say(code)

    def say(self, *messages: Message) -> None:
        """Say this, behind all that was said before."""
        if self._batch:
            self._close()
        self.out += messages

    def ask(self, make: Callable[[int], Message]) -> int:
        """Ask this; the answer comes among the news, with the number."""
        self._ask += 1
        message = self.asks[self._ask] = make(self._ask)
        self.say(message)
        return self._ask

    def want(self, id: TaskId, name: str) -> None:
        """Want the result of a task that the scheduler should know."""
        if id not in self.wants:
            self.wants[id] = name
            self.say(wire.Desire((id,)))

    def release(self, ids: Iterable[TaskId]) -> None:
        """Want the results of these no longer; of a bundle, the first of each part."""
        gone = []
        for id in ids:
            was = self.wants.pop(id, None)
            if was is not None:
                gone.append(id)
                self._let_go(id)
            elif (bundle := self.bundles.find(id)) is not None:
                self._release_rows(bundle, id, gone)
            elif self.past:
                self.past.pop(id, None)
        if gone:
            self.say(wire.Release(tuple(gone)))

    def cancel(self, ids: Iterable[TaskId], *, force: bool = False, reason: str = "") -> None:
        """Stop these; nothing is told of them any more. Of a bundle, all that is open."""
        named = []
        for id in ids:
            if self.wants.pop(id, None) is not None:
                named.append(id)
                self._let_go(id)
            elif (bundle := self.bundles.find(id)) is not None:
                bundle.unwanted = True
                self._let_go(bundle.start)
                named += [start for start, _ in bundle.runs()]
        if named:
            self.say(wire.Cancel(tuple(named), force, reason[:_MOST_NAME]))

    def take(self) -> list[Message]:
        """All that is to be sent now; nothing without a scheduler that knows us."""
        if self._batch:
            self._close()
        if not self.out or not self.attached:
            return []
        out, self.out = self.out, []
        self.unacked.append((self._beat, out))
        return out

    def beat(self) -> Message:
        """A beat; when it comes back, all before it has been heard."""
        self._beat += 1
        return wire.ClientBeat(self._beat - 1)

    # --- links -------------------------------------------------------------------------------

    def link_up(self, *, boldly: bool) -> list[Message]:
        """There is a link: what is said first on it.

        Args:
            boldly: nobody else can have our session's number: do not wait for a welcome.
        """
        first: list[Message] = []
        if self.world is not None:
            first.append(self.world)
        first.append(wire.Attach(self.session, self.name[:_MOST_NAME], self.lease_s))
        if boldly:
            self.attached = True
            first += self._again()
        return first

    def link_down(self) -> None:
        """The link is lost; there may be another."""
        self.attached = False

    def end(self, error: Callable[[], BaseException]) -> list[int]:
        """All that the scheduler knew is gone with it: everything open ends with this.

        Returns:
            the requests that will not be answered.
        """
        text = repr(error())
        for id, was in self.wants.items():
            self.past[id] = was
            if type(was) is str:
                self.past[id] = ENDED
                self._tell(id, error=error, text=text)
            elif was is not ENDED:
                was.gone(error)
        for bundle in self.bundles:
            for start, count in bundle.runs():
                if not bundle.unwanted:
                    self._tell(start, error=error, text=text, rows=count)
            for id, value in bundle.parts.items():
                self.past[id] = value
                if value is not ENDED:
                    value.gone(error)
        self.wants.clear()
        self.bundles.clear()
        self.unacked.clear()
        self.out.clear()
        self._batch.clear()
        self._table.clear()
        self.unused += self._users
        self._uses.clear()
        self._users.clear()
        asks, self.asks = list(self.asks), {}
        self.attached = self.known = self.forgotten = False
        self.out += self.codes.values()
        return asks

    # --- hearing -----------------------------------------------------------------------------

    def handle(self, messages: Sequence[Any]) -> None:
        """Take a frame of the scheduler's."""
        wants, base = self.wants, self.base
        for message in messages:
            if type(message) is wire.Done:
                id = message.id
                if message.rows == 1 and type(wants.get(id)) is str:  # nearly all
                    value = wants[id] = self._value(message)
                    tries = message.earlier and _tries(message.earlier)
                    if type(id) is int and id - base < CALLS:
                        self.told.append(SinkOutcome(id - base, value, tries=tries))
                    else:
                        self._tell(id, value, tries=tries)
                    continue
            handler = _HEARD.get(type(message))
            if handler is None:
                self.news.append(message)
            else:
                handler(self, message)

    def _done(self, done: wire.Done) -> None:
        was = self.wants.get(done.id)
        if was is not None:
            if type(was) is str:
                self.wants[done.id] = value = self._value(done)
                self._tell(done.id, value, tries=_tries(done.earlier), rows=done.rows)
            elif was is not ENDED:
                was.found(done)
            return
        bundle = self.bundles.find(done.id)
        if bundle is None or type(done.id) is not int:
            self.say(wire.Release((done.id,)))
        elif bundle.is_open(done.id, done.rows):
            if bundle.unwanted:
                self.say(wire.Release((done.id,)))
                self._stop_rest(bundle, done.id, done.rows)
                return
            value = self._value(done, listed=True)
            bundle.tell(done.id, done.rows, value)
            self._tell(done.id, value, tries=_tries(done.earlier), rows=done.rows)
        elif (known := bundle.part_with(done.id)) is None:
            self.say(wire.Release((done.id,)))
        elif known is not ENDED:
            known.found(done)

    def _erred(self, erred: wire.Erred) -> None:
        id, failure = erred.id, erred.failure
        was = self.wants.get(id)
        bundle = self.bundles.find(id) if was is None else None
        if type(was) is str:
            self.wants[id] = ENDED
            self._tell_error(erred, was)
        elif was is not None:
            if was is not ENDED:
                was.gone(partial(error_of, failure, self.shown(id)))
        elif bundle is None or type(id) is not int:
            self.say(wire.Release((id,)))
        elif bundle.is_open(id, erred.rows):
            if bundle.unwanted:
                self.say(wire.Release((id,)))
                self._stop_rest(bundle, id, erred.rows)
                return
            bundle.tell(id, erred.rows, ENDED)
            self._tell_error(erred, bundle.name)
        elif (known := bundle.part_with(id)) is not None and known is not ENDED:
            known.gone(partial(error_of, failure, self.shown(id)))

    def _cancelled(self, message: wire.Cancelled) -> None:
        id = message.id
        was = self.wants.get(id)
        if was is not None:
            if type(was) is str:
                del self.wants[id]
                self._let_go(id)
                self._tell(id, cancelled=True)
            elif was is not ENDED:
                failure = Failure("lost", "", f"it was cancelled: {message.reason}")
                was.gone(partial(error_of, failure, self.shown(id)))
            return
        bundle = self.bundles.find(id)
        if bundle is not None and type(id) is int and bundle.is_open(id, message.rows):
            if bundle.unwanted:
                self._stop_rest(bundle, id, message.rows)
            else:
                bundle.tell(id, message.rows, None)
                self._tell(id, cancelled=True, rows=message.rows)
                self._tidy(bundle)

    def _lost(self, message: wire.Lost) -> None:
        was = self.wants.get(message.id)
        if was is None and (bundle := self.bundles.find(message.id)) is not None:
            assert isinstance(message.id, int)
            was = bundle.part_with(message.id)
        if was is not None and type(was) is not str and was is not ENDED:
            was.lost()

    def _refused(self, message: wire.Refused) -> None:
        if message.what == "client":
            if self.known:
                self.forgotten = True
            else:  # it never heard us
                self.attached = False
            self.news.append(message)
        elif message.what == "submit" and len(message.ids) > 1:
            self._in_halves(message)
        elif message.what in ("submit", "desire"):
            failure = Failure("lost", "", message.reason)
            for id in message.ids:
                self._end_one(id, failure)
        else:
            self.news.append(message)

    def _attached(self, message: wire.Attached) -> None:
        if self.known and not message.resumed:
            self.forgotten = True
            self.news.append(message)
            return
        if self.attached:
            return  # we went ahead, or it is told twice
        self.attached = True
        again = self._again()
        self.out = [*again, *self.out]
        self.news.append(message)

    def _beaten(self, message: wire.Beaten) -> None:
        self.known = True
        unacked = self.unacked
        while unacked and unacked[0][0] <= message.number:
            unacked.popleft()

    def _replied(self, message: wire.Reply) -> None:
        if self.asks.pop(message.ask, None) is not None:
            self.news.append(message)

    def _uploads(self, message: wire.Upload) -> None:
        self.asks.pop(message.ask, None)
        self.news.append(message)

    def _located(self, message: wire.Located) -> None:
        if self.asks.pop(message.ask, None) is not None:
            self.news.append(message)

    # --- details -----------------------------------------------------------------------------

    def shown(self, id: TaskId) -> str:
        """A task, for people."""
        return f"task {id!r}" if type(id) is not int else f"task {id - self.base}"

    def _tell(
        self,
        id: TaskId,
        value: Any = None,
        *,
        error: Callable[[], BaseException] | None = None,
        text: str = "",
        cancelled: bool = False,
        blame: int | None = None,
        tries: Sequence[Try] = (),
        rows: int = 1,
    ) -> None:
        number: Any = id - self.base if type(id) is int else id
        outcome = SinkOutcome(number, value, error, text, cancelled, blame, tries, rows)
        if type(number) is not int or number >= CALLS:
            self.called.append(outcome)
        else:
            self.told.append(outcome)

    def _tell_error(self, erred: wire.Erred, name: str) -> None:
        failure, blame = erred.failure, erred.blame
        whose = blame - self.base if type(blame) is int else None
        self._tell(
            erred.id,
            error=partial(error_of, failure, f"{self.shown(blame)} ({name})"),
            text=text_of(failure),
            blame=None if blame == erred.id else whose,
            tries=_tries(_before(erred)),
            rows=erred.rows,
        )

    def _end_one(self, id: TaskId, failure: Failure) -> None:
        """A task that is open ends here, without the scheduler."""
        was = self.wants.get(id)
        bundle = self.bundles.find(id) if was is None else None
        if type(was) is str:
            self.wants[id] = ENDED
            error = partial(error_of, failure, f"{self.shown(id)} ({was})")
            self._tell(id, error=error, text=text_of(failure))
        elif bundle is not None:
            for start, count in bundle.runs():
                bundle.tell(start, count, ENDED)
                error = partial(error_of, failure, f"{self.shown(start)} ({bundle.name})")
                self._tell(start, error=error, text=text_of(failure), rows=count)

    def _too_late(self, task: SinkTask, gone: list[TaskId]) -> None:
        """A task that depends on what was lost with the last scheduler."""
        shown = ", ".join(self.shown(id) for id in gone[:3])
        failure = Failure("lost", "", f"it depends on {shown}, lost with the last scheduler")
        id = self.base + task.id
        self.past[id] = ENDED
        error = partial(error_of, failure, f"{self.shown(id)} ({task.name})")
        rows = 1 if task.rows is None else len(task.rows)
        self._tell(id, error=error, text=text_of(failure), rows=rows)

    def _use(self, id: TaskId, uses: tuple[TaskId, ...]) -> tuple[TaskId, ...]:
        """The task needs this data, which stays until it is released."""
        if uses and id not in self._uses:
            self._uses[id] = uses
            for each in uses:
                self._users[each] = self._users.get(each, 0) + 1
        return uses

    def _let_go(self, id: TaskId) -> None:
        """Nobody wants the task: what data is used by no other?"""
        if not self._uses:
            return
        for each in self._uses.pop(id, ()):
            self._users[each] -= 1
            if not self._users[each]:
                del self._users[each]
                self.unused.append(each)

    def _option(self, options: wire.Options) -> int:
        table = self._table
        if not table:
            table[_DEFAULT] = 0
        return table.setdefault(options, len(table))

    def _close(self) -> None:
        """What was admitted becomes a message."""
        table = tuple(self._table) or (_DEFAULT,)
        self.out.append(wire.Submit(tuple(self._batch), table))
        self._batch.clear()
        self._table.clear()

    def _release_rows(self, bundle: Bundle, id: TaskId, gone: list[TaskId]) -> None:
        assert isinstance(id, int)
        if id not in bundle.parts:
            return
        place = bundle.starts.index(id)
        after = bundle.starts[place + 1] if place + 1 < len(bundle.starts) else bundle.end
        rows = 1
        flags, at = bundle.flags, id - bundle.start
        while id + rows < after and flags[at + rows] == flags[at]:
            rows += 1
        bundle.drop(id, rows)
        gone.append(id)
        self._tidy(bundle)

    def _tidy(self, bundle: Bundle) -> None:
        self.bundles.tidy(bundle)
        if not bundle.left and not bundle.parts:
            self._let_go(bundle.start)

    def _stop_rest(self, bundle: Bundle, id: int, rows: int) -> None:
        """Something has ended of a bundle that is unwanted: stop what is behind it, too.

        Where the scheduler has cut it is not known here: each word of it tells of one cut.
        """
        bundle.tell(id, rows, None)
        rest = next((start for start, _ in bundle.runs() if start >= id), None)
        if rest is not None:
            self.say(wire.Cancel((rest,)))
        self._tidy(bundle)

    def _in_halves(self, message: wire.Refused) -> None:
        """Nothing of a Submit was admitted, for the sake of one task: find out which."""
        refused = dict.fromkeys(message.ids)
        found: list[tuple[wire.TaskSpec, wire.Options]] = []
        for _, sent in self.unacked:
            for one in sent:
                if type(one) is wire.Submit:
                    options = one.options
                    found += [(s, options[s.options]) for s in one.tasks if s.id in refused]
        found = list({spec.id: (spec, options) for spec, options in found}.values())
        if len(found) < len(refused):
            failure = Failure("lost", "", message.reason)
            mine = {spec.id for spec, _ in found}
            for id in refused:
                if id not in mine:
                    self._end_one(id, failure)
        middle = (len(found) + 1) // 2
        for half in (found[:middle], found[middle:]):
            if half:
                table = {options: n for n, options in enumerate(dict.fromkeys(o for _, o in half))}
                specs = [_with_options(spec, table[options]) for spec, options in half]
                self.say(wire.Submit(tuple(specs), tuple(table)))

    def _again(self) -> list[Message]:
        """What is to be said again on a new link, in the order in which it was said first."""
        again = [message for _, messages in self.unacked for message in messages]
        asked = {getattr(message, "ask", None) for message in again}
        asked.update(getattr(message, "ask", None) for message in self.out)
        again += [message for ask, message in self.asks.items() if ask not in asked]
        # How these ended may have been told on the link that was lost, and they be forgotten since.
        said: set[TaskId] = set()
        for message in (*again, *self.out):
            if type(message) is wire.Submit:
                said.update(spec.id for spec in message.tasks)
            elif type(message) is wire.Desire:
                said.update(message.ids)
        said.update(spec.id for spec in self._batch)
        rest = [
            id
            for id, was in self.wants.items()
            if was is not ENDED and id not in said and not self._is_data(id)
        ]
        rest += [start for b in self.bundles if b.start not in said for start, _ in b.runs()]
        rest += [id for b in self.bundles for id, part in b.parts.items() if part is not ENDED]
        if rest and self.known:
            again.append(wire.Desire(tuple(rest)))
        self.unacked.clear()
        if again:
            self.unacked.append((self._beat, again))
        return again

    def _is_data(self, id: TaskId) -> bool:
        return type(id) is int and id - self.base >= DATA


_HEARD: dict[type, Callable[[Ledger, Any], None]] = {
    wire.Done: Ledger._done,
    wire.Erred: Ledger._erred,
    wire.Cancelled: Ledger._cancelled,
    wire.Lost: Ledger._lost,
    wire.Retried: lambda ledger, message: None,
    wire.Refused: Ledger._refused,
    wire.Attached: Ledger._attached,
    wire.Beaten: Ledger._beaten,
    wire.Reply: Ledger._replied,
    wire.Upload: Ledger._uploads,
    wire.Located: Ledger._located,
}


def text_of(failure: Failure) -> str:
    """A failure as the repr of the exception it stands for."""
    return f"{failure.type or failure.kind}({failure.text!r})"


def _tries(rows: Sequence[wire.AttemptRow]) -> tuple[Try, ...]:
    return tuple([Try(text_of(row.failure), partial(_error_of_row, row)) for row in rows])


def _error_of_row(row: wire.AttemptRow) -> BaseException:
    return error_of(row.failure, f"attempt {row.attempt} on {row.worker}")


def _before(erred: wire.Erred) -> Sequence[wire.AttemptRow]:
    """The attempts before the one that this error tells of."""
    rows = erred.earlier
    return rows[:-1] if rows and rows[-1].failure == erred.failure else rows


def _with_options(spec: wire.TaskSpec, options: int) -> wire.TaskSpec:
    return wire.TaskSpec(
        spec.id,
        spec.name,
        spec.run_spec,
        spec.dependencies,
        options,
        spec.actor,
        spec.home,
        spec.rows,
        spec.metadata,
    )
