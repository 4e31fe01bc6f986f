"""Group commit: many threads add, one of those that wait writes for all.

No thread of its own and no delay: whoever waits while nobody writes becomes the leader and takes
all that is pending; what is added meanwhile is the next leader's. So a single caller pays one
write, and under load the groups grow by themselves to what the disk needs.

The write is called without the lock held, by one thread at a time, in the order of adding.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, NewType, TypeVar

T = TypeVar("T")

#: The number of the last item that an `add` added.
Ticket = NewType("Ticket", int)


class GroupFailed(Exception):
    """Raised by a write to say that this group and all that follow are lost."""


class GroupCommit(Generic[T]):
    """A buffer whose items are written in groups.

    Args:
        write: writes one group; returns once it is as durable as promised. Raises GroupFailed
            to fail every waiter, now and later; after any other exception the group is pending
            again, and the exception is its leader's alone.
        size_of: bytes that an item takes.
        group_bytes: a group is closed once it has this many.
    """

    def __init__(
        self,
        write: Callable[[Sequence[T]], None],
        *,
        size_of: Callable[[T], int],
        group_bytes: int,
    ) -> None:
        self._write = write
        self._size_of = size_of
        self._group_bytes = group_bytes
        self._changed = threading.Condition(threading.Lock())
        self._pending: list[T] = []
        self._pending_bytes = 0
        self._added = 0
        self._done = 0
        self._writing = False
        self._failure: BaseException | None = None

    @property
    def pending_bytes(self) -> int:
        """Bytes added and not yet taken by a leader."""
        return self._pending_bytes

    def add(self, items: Sequence[T]) -> Ticket:
        """Add items, to be written one after the other; the ticket is for `wait`.

        Raises:
            GroupFailed: nothing is written any more.
        """
        size = sum(map(self._size_of, items))
        with self._changed:
            if self._failure is not None:
                raise GroupFailed from self._failure
            self._pending.extend(items)
            self._pending_bytes += size
            self._added += len(items)
            return Ticket(self._added)

    def wait(self, ticket: Ticket | None = None) -> None:
        """Return once the ticket's items are written; without a ticket, all added until now.

        Raises:
            GroupFailed: they are lost.
        """
        # A ticket of another log must not make us wait for what nobody will add.
        target = self._added if ticket is None else min(ticket, self._added)
        while (group := self._lead_or_follow(target)) is not None:
            try:
                self._write(group)
            except GroupFailed as failure:
                self._step_down(failure=failure.__cause__ or failure)
            except BaseException:
                self._step_down(again=group)
                raise
            else:
                self._step_down(written=len(group))

    def fail(self, cause: BaseException) -> None:
        """Lose all that is not written, now and later."""
        with self._changed:
            self._failure = self._failure or cause
            self._changed.notify_all()

    def wait_idle(self) -> None:
        """Return once no write is under way; with no more adding, none will be."""
        with self._changed:
            self._changed.wait_for(lambda: not self._writing)

    def _lead_or_follow(self, target: int) -> list[T] | None:
        """Wait until written (None), or until it is this thread's turn to write (a group)."""
        with self._changed:
            while self._done < target:
                if self._writing:
                    self._changed.wait()
                elif self._failure is not None:
                    raise GroupFailed from self._failure
                else:
                    self._writing = True
                    return self._take()
            return None

    def _take(self) -> list[T]:
        size = count = 0
        for item in self._pending:
            size += self._size_of(item)
            count += 1
            if size >= self._group_bytes:
                break
        group = self._pending[:count]
        del self._pending[:count]
        self._pending_bytes -= size
        return group

    def _step_down(
        self,
        *,
        written: int = 0,
        again: Sequence[T] = (),
        failure: BaseException | None = None,
    ) -> None:
        with self._changed:
            self._writing = False
            self._done += written
            self._pending[:0] = again
            self._pending_bytes += sum(map(self._size_of, again))
            self._failure = self._failure or failure
            if failure is not None:
                self._pending.clear()
                self._pending_bytes = 0
            self._changed.notify_all()
