"""Queues: items in the order in which they were put, to takers in the order in which they came.

One who takes several waits until so many are there, and who came later waits behind it. Items of an
answer that has not arrived are under way: if their taker withdraws, leaves or is forgotten, they go
back to where they were.
"""

from __future__ import annotations

from collections import deque
from itertools import islice

from treadle import wire
from treadle.scheduler._books import Books
from treadle.scheduler._client import ClientState
from treadle.scheduler._desks import answer, begin, end, tell
from treadle.scheduler._keepers import let_go, store
from treadle.scheduler._shared import Desk, Kept, Queue, Stored, Wait

#: Bytes of items in one answer; how many there are, if fewer are enough. The rest is asked for.
MAX_TAKEN = 16 * 1024 * 1024
MAX_COUNT = 1_000


def put(books: Books, client: ClientState, desk: Desk, message: wire.Put) -> None:
    """Append an item, when there is room."""
    queue = _queue(books, message.name)
    wrong = _wrong_size(queue, message.maxsize)
    if wrong is not None:
        answer(books, client, message.ask, error=wrong)
        _left(books, queue)
        return
    full = _is_full(queue)  # as it is while somebody waits to put
    if full and message.timeout_s == 0:
        answer(books, client, message.ask, False)
        return
    stored = store(books, f"queue/{message.name}", message.item)
    if isinstance(stored, str):
        answer(books, client, message.ask, error=stored)
    elif full:
        wait = Wait(client, message.ask, queue, late=False, stored=stored)
        begin(books, wait, queue.puts, message.timeout_s)
    else:
        queue.items.append(stored)
        answer(books, client, message.ask, True)
    _serve(books, queue)


def take(books: Books, client: ClientState, desk: Desk, message: wire.Take) -> None:
    """Give items, when there are as many as are wanted."""
    queue = _queue(books, message.name)
    least, most = message.least, message.most
    wrong = _wrong_size(queue, message.maxsize)
    if wrong is None and least > most:
        wrong = f"at least {least} and at most {most} items cannot be taken"
    if wrong is None and queue.maxsize and least > queue.maxsize:
        wrong = f"queue {queue.name!r} holds {queue.maxsize} items: {least} are never there"
    if wrong is not None:
        answer(books, client, message.ask, error=wrong)
        _left(books, queue)
        return
    wait = Wait(client, message.ask, queue, least=least, most=most)
    if not queue.line and len(queue.items) >= least:
        _give(books, queue, wait)
    elif not least:
        answer(books, client, message.ask, [])  # what is there is for who came before
    elif message.timeout_s == 0:
        answer(books, client, message.ask)
    else:
        begin(books, wait, queue.line, message.timeout_s)
    _serve(books, queue)


def size(books: Books, client: ClientState, desk: Desk, message: wire.QueueSize) -> None:
    """Say how many items are in it."""
    queue = books.shared.queues.get(message.name)
    tell(books, client, message.ask, 0 if queue is None else len(queue.items))


def arrived(books: Books, kept: Kept) -> None:
    """The taker has the items."""
    queue = kept.queue
    assert queue is not None
    queue.under_way -= 1
    for stored in kept.items:
        let_go(books, stored)
    _left(books, queue)


def put_back(books: Books, kept: Kept) -> None:
    """The taker will not have the items."""
    queue = kept.queue
    assert queue is not None
    queue.under_way -= 1
    queue.items.extendleft(reversed(kept.items))
    _serve(books, queue)


def stopped(books: Books, wait: Wait) -> None:
    """Somebody waits no longer, without an answer or with one that says so."""
    queue = wait.thing
    assert isinstance(queue, Queue)
    end(books, wait, queue.line if wait.stored is None else queue.puts)
    if wait.stored is not None:
        let_go(books, wait.stored)
    _serve(books, queue)


def _serve(books: Books, queue: Queue) -> None:
    """Whoever can be answered is."""
    while True:
        while queue.puts and not _is_full(queue):
            wait = next(iter(queue.puts))
            end(books, wait, queue.puts)
            assert wait.stored is not None
            queue.items.append(wait.stored)
            answer(books, wait.client, wait.ask, True)
        if not queue.line:
            break
        wait = next(iter(queue.line))
        if len(queue.items) < wait.least:
            break
        end(books, wait, queue.line)
        _give(books, queue, wait)
    _left(books, queue)


def _give(books: Books, queue: Queue, wait: Wait) -> None:
    items = queue.items
    count = min(wait.most, len(items), max(wait.least, MAX_COUNT))
    if count > 1:
        count = _fitting(items, count)
        if count < wait.least:
            text = (
                f"the next {wait.least} items of queue {queue.name!r} are over {MAX_TAKEN:,} bytes "
                f"together: take at most {count} at once"
            )
            answer(books, wait.client, wait.ask, error=text)
            return
    taken = tuple([items.popleft() for _ in range(count)])
    value = [[stored.item.data, stored.item.ids] for stored in taken]
    if taken:
        queue.under_way += 1
        answer(books, wait.client, wait.ask, value, queue=queue, items=taken)
    else:
        answer(books, wait.client, wait.ask, value)


def _fitting(items: deque[Stored], count: int) -> int:
    """How many of the first go into one answer."""
    nbytes = 0
    for n, stored in enumerate(islice(items, count)):
        nbytes += len(stored.item.data)
        if nbytes > MAX_TAKEN:
            return n
    return count


def _queue(books: Books, name: str) -> Queue:
    queues = books.shared.queues
    queue = queues.get(name)
    if queue is None:
        queue = queues[name] = Queue(name)
    return queue


def _is_full(queue: Queue) -> bool:
    return 0 < queue.maxsize <= len(queue.items)


def _wrong_size(queue: Queue, maxsize: int) -> str | None:
    """Who says how many it holds says the same as others; who does not takes it as it is."""
    if maxsize and not queue.maxsize:
        queue.maxsize = maxsize
    if maxsize and queue.maxsize != maxsize:
        return (
            f"queue {queue.name!r} holds {queue.maxsize} items, as its first user said, not "
            f"{maxsize}: say the same, or choose another name"
        )
    return None


def _left(books: Books, queue: Queue) -> None:
    """If it is empty and nobody is there, it is forgotten."""
    if not queue.items and not queue.line and not queue.puts and not queue.under_way:
        books.shared.queues.pop(queue.name, None)
