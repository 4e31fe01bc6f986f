"""Results that futures in an item of a queue, or in a variable, stand for.

Each such item is a client without a process, which wants them while the item is there; after that
they linger for a while, since who has read the item may be about to want them.
"""

from __future__ import annotations

from treadle.scheduler._admission import desire
from treadle.scheduler._books import Books
from treadle.scheduler._bundles import owner
from treadle.scheduler._client import ClientState
from treadle.scheduler._lingering import linger
from treadle.scheduler._release import unwant
from treadle.scheduler._shared import Stored
from treadle.scheduler._words import named
from treadle.wire import Item


def store(books: Books, what: str, item: Item) -> Stored | str:
    """The item, with what it stands for kept; or why that cannot be, in words."""
    if not item.ids:
        return Stored(item, None)
    unknown = [repr(id) for id in item.ids if owner(books, id) is None]
    if unknown:
        return f"futures in it stand for what is not known (any longer): {named(unknown, 'task')}"
    books.shared.keepers += 1
    peer = f"{what}/{books.shared.keepers}"
    keeper = books.clients[peer] = ClientState(peer)
    for id in item.ids:
        desire(books, keeper, id)
    return Stored(item, keeper)


def let_go(books: Books, stored: Stored) -> None:
    """The item is gone; what it stands for lingers."""
    keeper = stored.keeper
    if keeper is None:
        return
    del books.clients[keeper.peer]
    for ts in tuple(keeper.wants_what):
        linger(books, ts)
        unwant(books, ts, keeper)
