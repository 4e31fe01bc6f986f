"""What a client does with each word of the scheduler's: the other half of its books. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from treadle import wire
from treadle.cluster._failures import error_of
from treadle.cluster._rows import ENDED, Bundle
from treadle.cluster._views import is_of_kernel, is_open
from treadle.cluster._wanting import bundle_of, let_go_of, retried
from treadle.dataflow._sink import Try
from treadle.wire import Failure, TaskId

if TYPE_CHECKING:
    from treadle.cluster._ledger import Ledger

# --- outcomes ------------------------------------------------------------------------------------


def done(b: Ledger, message: wire.Done) -> None:
    """A result is there."""
    id, rows = message.id, message.rows
    was = b.wants.get(id)
    if was is not None and (rows == 1 or type(was) is not str):
        if type(was) is str:
            b.wants[id] = here = b.value(message)
            b.tell(id, here, tries=tries_of(message.earlier))
        elif was is not ENDED:
            was.found(message)
        return
    bundle = bundle_of(b, id, rows)
    if bundle is None or type(id) is not int:
        b.say(wire.Release((id,)))
    elif bundle.is_open(id, rows):
        if bundle.unwanted:
            b.say(wire.Release((id,)))
            _stop_rest(b, bundle, id, rows)
            return
        value: Any = bundle.parts.get(id)  # of other rows it may have been told before
        if value is None or value is ENDED:
            value = b.value(message, listed=True)
        else:
            value.found(message)
        if bundle.tell(id, rows, value):
            b.tell(id, value, tries=tries_of(message.earlier), rows=rows)
        else:
            let_go_of(b, bundle, id, rows)
    elif (known := bundle.part_with(id)) is None:
        b.say(wire.Release((id,)))
    elif known is not ENDED:
        known.found(message)


def erred(b: Ledger, message: wire.Erred) -> None:
    """There is no result; or there was one, and it is lost for good."""
    id, failure, rows = message.id, message.failure, message.rows
    was = b.wants.get(id)
    if was is not None and rows > 1 and type(was) is str:
        was = None
    bundle = bundle_of(b, id, rows) if was is None else None
    if type(was) is str:
        b.wants[id] = ENDED
        _tell_error(b, message, was)
    elif was is not None:
        if was is not ENDED:
            was.gone(partial(error_of, failure, b.shown(id)))
    elif bundle is None or type(id) is not int:
        b.say(wire.Release((id,)))
    elif bundle.is_open(id, rows):
        if bundle.unwanted:
            b.say(wire.Release((id,)))
            _stop_rest(b, bundle, id, rows)
        elif bundle.tell(id, rows, ENDED):
            _tell_error(b, message, bundle.name)
        else:
            let_go_of(b, bundle, id, rows)
    elif (known := bundle.part_with(id)) is not None and known is not ENDED:
        known.gone(partial(error_of, failure, b.shown(id)))


def cancelled(b: Ledger, message: wire.Cancelled) -> None:
    """A task was stopped: by us, with one that we stopped, or by somebody else."""
    id, rows = message.id, message.rows
    if b.stopped and b.stopped.pop(id, None) is not None:
        return  # it has been asked for, and what has this key now is another
    was = b.wants.get(id)
    if was is not None and (rows == 1 or type(was) is not str):
        if type(was) is str or not is_of_kernel(b, id):
            del b.wants[id]
            b.let_go(id)
            b.tell(id, cancelled=True, text=message.reason)
        if type(was) is not str and was is not ENDED:
            failure = Failure("lost", "", f"it was cancelled: {message.reason}")
            was.gone(partial(error_of, failure, b.shown(id)))
        if type(id) is int:
            b.news.append(message)  # if it is data, it is to be given again when it is named again
        return
    bundle = bundle_of(b, id, rows)
    if bundle is not None and type(id) is int and bundle.is_open(id, rows):
        if bundle.unwanted:
            _stop_rest(b, bundle, id, rows)
        else:
            bundle.tell(id, rows, None)
            b.tell(id, cancelled=True, text=message.reason, rows=rows)
            b.tidy(bundle)
    elif bundle is not None and not is_of_kernel(b, id) and bundle.revoke(int(id), rows):
        b.tell(id, cancelled=True, text=message.reason, rows=rows)
        b.tidy(bundle)


def lost(b: Ledger, message: wire.Lost) -> None:
    """A result is being computed again."""
    was = b.wants.get(message.id)
    if was is None and (bundle := b.bundles.find(message.id)) is not None:
        assert isinstance(message.id, int)
        was = bundle.part_with(message.id)
    if was is not None and type(was) is not str and was is not ENDED:
        was.lost()


def _tell_error(b: Ledger, message: wire.Erred, name: str) -> None:
    failure, blame = message.failure, message.blame
    whose = blame - b.base if type(blame) is int else None
    own = blame == message.id
    b.tell(
        message.id,
        error=partial(error_of, failure, f"{b.shown(blame)} ({name})"),
        text=text_of(failure),
        blame=None if own else whose,
        tries=tries_of(_before(message)),
        rows=message.rows,
        dependency=own and failure.kind == "exception" and _is_of_others(failure.type),
    )


def _is_of_others(type_name: str) -> bool:
    """Whether an app has raised what a kernel raises for the failure of another task."""
    return type_name.rpartition(".")[2] in ("DependencyError", "JoinError")


def _stop_rest(b: Ledger, bundle: Bundle, id: int, rows: int) -> None:
    """Something has ended of a bundle that is unwanted: stop what is behind it, too.

    Where the scheduler has cut it is not known here: each word of it tells of one cut.
    """
    bundle.tell(id, rows, None)
    rest = next((start for start, _ in bundle.runs() if start >= id), None)
    if rest is not None:
        b.say(wire.Cancel((rest,)))
    b.tidy(bundle)


# --- refusals ------------------------------------------------------------------------------------


def refused(b: Ledger, message: wire.Refused) -> None:
    """Something that was said was not carried out."""
    if message.what == "client":
        b.attached = False
        b.forgotten = b.known  # else it has never heard us, and there is nothing to forget
        b.news.append(message)
    elif message.what == "submit" and len(message.ids) > 1:
        _in_halves(b, message)
    elif message.what == "submit":
        failure = Failure(message.kind or "lost", "", message.reason)
        for id in message.ids:
            _end(b, id, failure)
    elif message.what in ("desire", "retry"):
        failure = Failure("lost", "", "nobody knows it (any longer)")
        for id in message.ids:
            _end(b, id, failure, rows=1)
    else:
        b.news.append(message)


def _in_halves(b: Ledger, message: wire.Refused) -> None:
    """Nothing of a Submit was admitted, for the sake of one task: find out which."""
    wanted = dict.fromkeys(message.ids)
    found: dict[TaskId, tuple[wire.TaskSpec, wire.Options]] = {}
    for _, sent in b.unacked:
        for one in sent:
            if type(one) is wire.Submit:
                options = one.options
                found.update({s.id: (s, options[s.options]) for s in one.tasks if s.id in wanted})
    failure = Failure("lost", "", message.reason)
    for id in wanted:
        if id not in found:
            _end(b, id, failure)
    specs = [each for each in found.values() if is_open(b, each[0].id)]
    middle = (len(specs) + 1) // 2
    for half in (specs[:middle], specs[middle:]):
        if half:
            table = {options: n for n, options in enumerate(dict.fromkeys(o for _, o in half))}
            tasks = tuple([replace(spec, options=table[options]) for spec, options in half])
            b.say(wire.Submit(tasks, tuple(table)))


def _end(b: Ledger, id: TaskId, failure: Failure, rows: int = 0) -> None:
    """A task that is open ends here, without the scheduler; of a bundle, so many rows (0: all)."""
    was = b.wants.get(id)
    bundle = b.bundles.find(id) if was is None else None
    if type(was) is str:
        b.wants[id] = ENDED
        error = partial(error_of, failure, f"{b.shown(id)} ({was})")
        b.tell(id, error=error, text=text_of(failure))
    elif was is not None and was is not ENDED:
        was.gone(partial(error_of, failure, b.shown(id)))
    elif bundle is not None and (not rows or bundle.is_open(int(id), rows)):
        for start, count in [(int(id), rows)] if rows else bundle.runs():
            bundle.tell(start, count, None if bundle.unwanted else ENDED)
            if not bundle.unwanted:
                error = partial(error_of, failure, f"{b.shown(start)} ({bundle.name})")
                b.tell(start, error=error, text=text_of(failure), rows=count)
        b.tidy(bundle)


# --- links and requests --------------------------------------------------------------------------


def attached(b: Ledger, message: wire.Attached) -> None:
    """The scheduler knows us, or knows us again."""
    if b.known and not message.resumed:
        b.attached = False
        b.forgotten = True
        b.news.append(message)
        return
    if not b.attached:  # else we went ahead, or it is told twice
        b.attached = True
        again = b.again()
        b.unacked.clear()  # it is about to be sent, and stands there again then
        b.out = [*again, *b.out]
    b.news.append(message)


def beaten(b: Ledger, message: wire.Beaten) -> None:
    """What was said before this beat has been heard."""
    b.known = True
    if b.stopped:
        b.stopped = {id: beat for id, beat in b.stopped.items() if beat > message.number}
    unacked = b.unacked
    while unacked and unacked[0][0] <= message.number:
        unacked.popleft()


def answered(b: Ledger, message: Any) -> None:
    """A request is answered, once."""
    if b.asks.pop(message.ask, None) is not None:
        b.known = True  # it has heard us: what it gave us is forgotten if we are
        b.news.append(message)


def upload(b: Ledger, message: wire.Upload) -> None:
    """Data is to be given to workers; that may be said more than once."""
    b.asks.pop(message.ask, None)
    b.news.append(message)


#: What is done with a message; what is not here is news for the shell.
HEARD: dict[type, Callable[[Ledger, Any], None]] = {
    wire.Done: done,
    wire.Erred: erred,
    wire.Cancelled: cancelled,
    wire.Lost: lost,
    wire.Retried: retried,
    wire.Refused: refused,
    wire.Attached: attached,
    wire.Beaten: beaten,
    wire.Reply: answered,
    wire.Located: answered,
    wire.Issued: answered,
    wire.Upload: upload,
}


# --- words ---------------------------------------------------------------------------------------


def text_of(failure: Failure) -> str:
    """A failure as the repr of the exception it stands for."""
    return f"{failure.type or failure.kind}({failure.text!r})"


def tries_of(rows: Sequence[wire.AttemptRow]) -> tuple[Try, ...]:
    """Failed attempts, as the kernel is told of them."""
    return tuple([_try(row) for row in rows])


def _try(row: wire.AttemptRow) -> Try:
    # A death is no fault of the task's until it has died too often: it spends no retry.
    return Try(text_of(row.failure), partial(_error_of, row), row.failure.kind != "killed")


def _error_of(row: wire.AttemptRow) -> BaseException:
    return error_of(row.failure, f"attempt {row.attempt} on {row.worker}")


def _before(message: wire.Erred) -> Sequence[wire.AttemptRow]:
    """The attempts before the one that this error tells of."""
    rows = message.earlier
    return rows[:-1] if rows and rows[-1].failure == message.failure else rows
