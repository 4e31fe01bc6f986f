"""What an agent answers on *talk*, for whichever thread of a slot waits for it.

A task may have threads, and each may wait for something else; one of them reads for all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from treadle.cluster._packets import Denied, Granted, Turn

Letter = Granted | Denied | Turn


class Mail:
    """Letters that nobody has taken yet.

    Args:
        read: waits for the next letter.
    """

    def __init__(self, read: Callable[[], Letter]) -> None:
        self._read = read
        self._changed = threading.Condition()
        self._letters: list[Letter] = []
        self._is_read = False
        self._attempt = 0

    def wait(self, attempt: int, *kinds: type[Letter]) -> Letter | None:
        """The next letter of one of these kinds; None if the attempt has ended meanwhile."""
        with self._changed:
            while attempt == self._attempt:
                for letter in self._letters:
                    if isinstance(letter, kinds):
                        self._letters.remove(letter)
                        return letter
                if self._is_read:
                    self._changed.wait()
                else:
                    self._read_one()
            return None

    def turn_to(self, attempt: int) -> None:
        """This attempt runs now: what comes for others is nobody's."""
        with self._changed:
            if attempt != self._attempt:
                self._attempt = attempt
                self._letters.clear()
                self._changed.notify_all()

    def _read_one(self) -> None:
        self._is_read = True
        self._changed.release()
        try:
            letter = self._read()
        finally:  # also when a signal has struck
            self._changed.acquire()
            self._is_read = False
            self._changed.notify_all()
        if letter.attempt == self._attempt:
            self._letters.append(letter)
