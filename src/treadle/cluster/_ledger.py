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

from msgspec.structs import replace

from treadle import wire
from treadle.cluster._failures import error_of
from treadle.cluster._hearing import HEARD, text_of, tries_of
from treadle.cluster._numbers import CALLS as CALLS
from treadle.cluster._numbers import DATA as DATA
from treadle.cluster._resources import Asked
from treadle.cluster._rows import ENDED, Bundle, Bundles
from treadle.dataflow._sink import RemoteValue, SinkOutcome, SinkTask, Try
from treadle.wire import Failure, Message, TaskId

_DEFAULT = wire.Options()
#: Longest text that a message may have as a name.
_MOST_NAME: Final = 1024


class Value(RemoteValue, Protocol):
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
        self.value = value
        self.number(session)
        #: By task: its name while it is open; then a `Value`, or `ENDED`.
        self.wants: dict[TaskId, Any] = {}
        self.bundles = Bundles()
        #: What we have stopped, and the beat behind that: until it comes back, a cancellation that
        #: is told may be that one, though the key is used again.
        self.stopped: dict[TaskId, int] = {}
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
        #: What is said on each new link, behind what is said again.
        self.standing: Callable[[], list[Message]] | None = None
        self._is_new_link = False
        #: Of a client inside of a task: which one that is.
        self.parent: Callable[[], TaskId | None] | None = None
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
        #: How many tasks that are wanted need each object.
        self.users: dict[TaskId, int] = {}
        self._batch: list[wire.TaskSpec] = []
        self._table: dict[wire.Options, int] = {}
        #: The number of the beat behind what is said now.
        self.next_beat = 1
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

    # --- saying ------------------------------------------------------------------------------

    def admit(self, tasks: Iterable[SinkTask]) -> None:
        """New tasks of a kernel, or calls."""
        base, wants, batch, past = self.base, self.wants, self._batch, self.past
        for task in tasks:
            id = base + task.id
            needs: tuple[TaskId, ...] = ()
            if task.dependencies:
                needs = tuple([base + number for number in task.dependencies])
                if past and (gone := [need for need in needs if need in past]):
                    here = {base + number for number in getattr(task.call, "embedded", ())}
                    if not here.issuperset(gone):
                        self._too_late(task, gone)
                        continue
                    needs = tuple([need for need in needs if need not in here])
            call = task.call
            if type(call) is not bytes:
                needs += self.use(id, call.uses)
                call = call.spec
            asked = task.options
            options = 0 if asked is None else self._option(asked)
            if task.rows is None:
                wants[id] = task.name
                spec = wire.TaskSpec(id, task.name, call, needs, options)
            else:
                self.bundles.add(id, len(task.rows), task.name)
                rows = tuple(task.rows)
                spec = wire.TaskSpec(id, task.name, call, needs, options, rows=rows)
            batch.append(replace(spec, metadata=asked.metadata) if type(asked) is Asked else spec)

    def submit(self, spec: wire.TaskSpec, options: wire.Options, uses: Sequence[TaskId]) -> None:
        """A new task of a client, as it goes on the wire."""
        needs = (*spec.dependencies, *self.use(spec.id, tuple(uses)))
        if spec.rows:
            assert isinstance(spec.id, int)
            self.bundles.add(spec.id, len(spec.rows), spec.name)
        else:
            self.wants[spec.id] = spec.name
        index = self._option(options)
        if index or len(needs) > len(spec.dependencies):
            spec = replace(spec, dependencies=needs, options=index)
        self._batch.append(spec)

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

    def release(self, ids: Iterable[TaskId]) -> None:
        """Want the results of these no longer; of a bundle, the first of each part."""
        gone = []
        for id in ids:
            was = self.wants.pop(id, None)
            if was is not None:
                gone.append(id)
                self.let_go(id)
            elif (bundle := self.bundles.find(id)) is not None:
                self._release_rows(bundle, id, gone)
            elif self.past:
                self.past.pop(id, None)
        if gone:
            self.say(wire.Release(tuple(gone)))

    def keep_here(self, id: TaskId) -> None:
        """A result is here for good: the scheduler need not keep it, and need not be asked."""
        was = self.wants.pop(id, None)
        bundle = self.bundles.find(id)
        if was is not None:
            self.let_go(id)
            self.say(wire.Release((id,)))
        elif bundle is not None and isinstance(id, int) and id in bundle.parts:
            was = bundle.parts[id]
            gone: list[TaskId] = []
            self._release_rows(bundle, id, gone)
            self.say(wire.Release(tuple(gone)))
        if was is not None:
            self.past[id] = was

    def cancel(self, ids: Iterable[TaskId], *, force: bool = False, reason: str = "") -> None:
        """Stop these; nothing is told of them any more. Of a bundle, all that is open."""
        named = []
        for id in ids:
            if self.wants.pop(id, None) is not None:
                named.append(id)
                self.let_go(id)
            elif (bundle := self.bundles.find(id)) is not None:
                bundle.unwanted = True
                self.let_go(bundle.start)
                named += [start for start, _ in bundle.runs()]
        if named:
            self.say(wire.Cancel(tuple(named), force, reason[:_MOST_NAME]))

    def take(self) -> list[Message]:
        """All that is to be sent now; nothing without a scheduler that knows us."""
        if self._batch:
            self._close()
        if not self.attached or not (self.out or self._is_new_link):
            return []
        out, self.out = self.out, []
        if out:
            self.unacked.append((self.next_beat, out))
        if self._is_new_link and self.standing is not None:
            self._is_new_link = False
            out = [*out, *self.standing()]  # of this link: on the next one it is another
        return out

    def beat(self) -> Message:
        """A beat; when it comes back, all before it has been heard."""
        self.next_beat += 1
        return wire.ClientBeat(self.next_beat - 1)

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
            first += self.again()
        return first

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
                self.tell(id, error=error, text=text)
            elif was is not ENDED:
                was.gone(error)
        for bundle in self.bundles:
            for start, count in bundle.runs():
                if not bundle.unwanted:
                    self.tell(start, error=error, text=text, rows=count)
            for id, value in bundle.parts.items():
                self.past[id] = value
                if value is not ENDED:
                    value.gone(error)
        self.wants.clear()
        self.bundles.clear()
        self.unacked.clear()
        self.stopped.clear()
        self.out.clear()
        self._batch.clear()
        self._table.clear()
        self.unused += self.users
        self._uses.clear()
        self.users.clear()
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
                    value = wants[id] = self.value(message)
                    tries = tries_of(message.earlier) if message.earlier else ()
                    if type(id) is int and 0 <= id - base < CALLS:
                        self.told.append(SinkOutcome(id - base, value, tries=tries))
                    else:
                        self.tell(id, value, tries=tries)
                    continue
            handler = HEARD.get(type(message))
            if handler is None:
                self.news.append(message)
            else:
                handler(self, message)

    # --- details -----------------------------------------------------------------------------

    def shown(self, id: TaskId) -> str:
        """A task, for people."""
        return f"task {id!r}" if type(id) is not int else f"task {id - self.base}"

    def tell(
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
        dependency: bool = False,
    ) -> None:
        """One outcome goes up."""
        number: Any = id - self.base if type(id) is int else id
        outcome = SinkOutcome(number, value, error, text, cancelled, blame, tries, rows, dependency)
        if type(number) is not int or not 0 <= number < CALLS:  # a call, or another's task
            self.called.append(outcome)
        else:
            self.told.append(outcome)

    def _too_late(self, task: SinkTask, gone: list[TaskId]) -> None:
        """A task that depends on what was lost with the last scheduler."""
        shown = ", ".join(self.shown(id) for id in gone[:3])
        failure = Failure("lost", "", f"it depends on {shown}, lost with the last scheduler")
        id = self.base + task.id
        self.past[id] = ENDED
        error = partial(error_of, failure, f"{self.shown(id)} ({task.name})")
        rows = 1 if task.rows is None else len(task.rows)
        self.tell(id, error=error, text=text_of(failure), rows=rows)

    def use(self, id: TaskId, uses: tuple[TaskId, ...]) -> tuple[TaskId, ...]:
        """The task needs this data, which stays until it is released."""
        if uses and id not in self._uses:
            self._uses[id] = uses
            for each in uses:
                self.users[each] = self.users.get(each, 0) + 1
        return uses

    def let_go(self, id: TaskId) -> None:
        """Nobody wants the task: what data is used by no other?"""
        if not self._uses:
            return
        for each in self._uses.pop(id, ()):
            self.users[each] -= 1
            if not self.users[each]:
                del self.users[each]
                self.unused.append(each)

    def _option(self, asked: wire.Options | Asked) -> int:
        options = asked.options if isinstance(asked, Asked) else asked
        table = self._table
        if not table:
            table[_DEFAULT] = 0
        return table.setdefault(options, len(table))

    def _close(self) -> None:
        """What was admitted becomes a message."""
        table = tuple(self._table) or (_DEFAULT,)
        parent = None if self.parent is None else self.parent()
        self.out.append(wire.Submit(tuple(self._batch), table, parent=parent))
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
        self.tidy(bundle)

    def tidy(self, bundle: Bundle) -> None:
        """Forget a bundle of which nothing is open or wanted."""
        self.bundles.tidy(bundle)
        if not bundle.left and not bundle.parts:
            self.let_go(bundle.start)

    def again(self) -> list[Message]:
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
            elif type(message) is wire.Scatter:
                said.update(item.id for item in message.items)
        said.update(spec.id for spec in self._batch)
        rest = [id for id, was in self.wants.items() if was is not ENDED and id not in said]
        rest += [start for b in self.bundles if b.start not in said for start, _ in b.runs()]
        rest += [id for b in self.bundles for id, part in b.parts.items() if part is not ENDED]
        if rest and self.known:
            again.append(wire.Desire(tuple(rest)))
        self.unacked.clear()
        if again:
            self.unacked.append((self.next_beat, again))
        self._is_new_link = self.standing is not None
        return again
