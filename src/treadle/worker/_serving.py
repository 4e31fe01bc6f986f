"""Objects are sent to other workers.

What is being sent is used, so it stays in memory until the shell says that it has left. What is
on disk comes back first. Above a limit peers are told that we are busy: they know others, or wait.
"""

from __future__ import annotations

from treadle.wire import Busy, Data, GetData
from treadle.worker._books import Books
from treadle.worker._events import Sent
from treadle.worker._peer import Transfer
from treadle.worker._replica import HERE, Place, Replica
from treadle.worker._store import shelve


def get_data(b: Books, message: GetData, source: str) -> None:
    """A peer wants objects."""
    key = (source, message.ask)
    if key in b.transfers:
        return b.refuse("asked twice")
    found: dict[tuple[int | str, int], Replica] = {}
    missing = []
    for each in message.objects:
        attempt = each.attempt or b.newest.get(each.id, 0)
        replica = b.store.get((each.id, attempt))
        if replica is None or replica.place not in HERE or replica.place is Place.slot:
            missing.append(each.id)
        else:
            found[replica.key] = replica
    if not found:
        b.out.send(source, Data(message.ask, (), tuple(missing)))
        return None
    nbytes = sum(replica.nbytes for replica in found.values())
    limits = b.limits
    if b.transfers and (
        len(b.transfers) >= limits.serves or b.outgoing_bytes + nbytes > limits.outgoing_bytes
    ):
        b.out.send(source, Busy(message.ask))
        return None
    transfer = Transfer(source, message.ask, list(found.values()), missing, nbytes)
    b.transfers[key] = transfer
    b.outgoing_bytes += nbytes
    for replica in transfer.replicas:
        replica.users += 1
        shelve(b, replica)  # on disk: this asks for it
    send_if_there(b, transfer)
    return None


def send_if_there(b: Books, transfer: Transfer) -> None:
    """Send a transfer's objects if all of them are in memory."""
    if transfer.due is not None:
        return
    if any(replica.place is not Place.memory for replica in transfer.replicas):
        return
    if not transfer.replicas:  # all of them were lost on disk
        b.out.send(transfer.peer, Data(transfer.ask, (), tuple(transfer.missing)))
        return over(b, transfer)
    limits = b.limits
    transfer.due = b.now + limits.transfer_s + transfer.nbytes / limits.slowest_bytes_s
    b.arm(transfer.due)
    objects = tuple(replica.held() for replica in transfer.replicas)
    b.out.send(transfer.peer, Data(transfer.ask, objects, tuple(transfer.missing)))
    return None


def came_back(b: Books, replica: Replica) -> None:
    """An object is in memory again that transfers may have waited for."""
    for transfer in list(b.transfers.values()):
        if transfer.due is None and replica in transfer.replicas:
            send_if_there(b, transfer)


def lost_on_disk(b: Books, replica: Replica) -> None:
    """An object is gone: transfers go without it."""
    for transfer in list(b.transfers.values()):
        if transfer.due is None and replica in transfer.replicas:
            transfer.replicas.remove(replica)
            transfer.missing.append(replica.id)
            replica.users -= 1
            send_if_there(b, transfer)


def over(b: Books, transfer: Transfer) -> None:
    """A transfer has ended: its objects may leave memory."""
    del b.transfers[transfer.peer, transfer.ask]
    b.outgoing_bytes -= transfer.nbytes
    b.room_due = True
    for replica in transfer.replicas:
        replica.users -= 1
        shelve(b, replica)


def sent(b: Books, event: Sent) -> None:
    transfer = b.transfers.get((event.peer, event.ask))
    if transfer is None or transfer.due is None:
        return b.refuse("not being sent")
    return over(b, transfer)


def peer_left(b: Books, name: str) -> None:
    """The link to a peer is lost, and with it what was being sent."""
    for transfer in [t for t in b.transfers.values() if t.peer == name]:
        over(b, transfer)


def mind_transfers(b: Books) -> None:
    """A transfer of which nothing is heard for long counts as over."""
    for transfer in list(b.transfers.values()):
        if transfer.due is None:
            continue
        if b.now < transfer.due:
            b.arm(transfer.due)
        else:
            over(b, transfer)
