"""Objects are brought from other workers.

One request is in flight for each peer, with as many objects as make a batch; requests and what
they bring are bounded in all. The best ranked object goes first; of the peers that should have it,
the one asked least. Who does not have it, or is not to be reached, is struck off; who is busy is
left alone for a while. When nobody is left, what needs the object is returned.
"""

from __future__ import annotations

from zlib import crc32

from treadle.wire import Attempt, Busy, Data, GetData, Input, NotFetched, TaskId
from treadle.worker._books import Books
from treadle.worker._events import Discard
from treadle.worker._job import Job, Priority
from treadle.worker._peer import Peer, Request
from treadle.worker._replica import Place, Replica, Search
from treadle.worker._room import claim, first_on_disk, restore
from treadle.worker._store import add, free, revive, want

#: A peer that is asked for nothing is forgotten when there are so many.
_PEERS = 4096


def want_inputs(b: Books, job: Job) -> None:
    """Look for all that the job needs and that is not here."""
    replicas = []
    for each in job.run.inputs:
        replica = look_for(b, each.id, each.attempt, each.nbytes)
        if job.run.id in replica.wanted:  # named twice
            continue
        want(b, job, replica)
        replicas.append(replica)
        if replica.search is not None:
            add_holders(b, replica, each.holders)
    job.inputs = tuple(replicas)


def more_holders(b: Books, job: Job, inputs: tuple[Input, ...]) -> None:
    """The scheduler has named holders again for a job that is here."""
    for each in inputs:
        replica = b.store.get((each.id, each.attempt))
        if replica is not None and replica.search is not None and job.run.id in replica.wanted:
            add_holders(b, replica, each.holders)


def look_for(b: Books, id: TaskId, attempt: int, nbytes: int) -> Replica:
    """The object, here or not."""
    key = (id, attempt)
    replica = b.store.get(key)
    if replica is None:
        replica = Replica(id, attempt, nbytes, search=Search())
        b.store[key] = b.sought[key] = replica
    else:
        revive(b, replica)
    return replica


def add_holders(b: Books, replica: Replica, holders: tuple[str, ...]) -> None:
    """These should have the object, whatever was thought of them before."""
    search = replica.search
    assert search is not None
    for name in holders:
        if name == b.id:
            search.struck.setdefault(name)
            continue
        search.struck.pop(name, None)
        search.holders[name] = None
    if search.holders:
        if replica.place is Place.absent:
            line_up(b, replica)
    else:
        b.hopeless.append(replica)


def line_up(b: Books, replica: Replica) -> None:
    """Have the object asked for, of whoever should have it."""
    search = replica.search
    assert search is not None
    priority = replica.priority()
    for name in search.holders:
        peer_named(b, name).push(priority, b.next_serial(), replica)
    b.room_due = True


def peer_named(b: Books, name: str) -> Peer:
    peer = b.peers.get(name)
    if peer is None:
        if len(b.peers) >= _PEERS:
            for old in [p for p in b.peers.values() if p.request is None and p.head() is None]:
                del b.peers[old.name]
        peer = b.peers[name] = Peer(name, crc32(f"{b.id}/{name}".encode()))
    return peer


# --- asking ------------------------------------------------------------------------------------


def bring(b: Books) -> bool:
    """Bring back and ask for what is wanted, best ranked first; False if something must wait."""
    while True:
        replica = first_on_disk(b)
        peer = next_peer(b) if b.sought and b.asking < b.limits.asks else None
        head = peer.head() if peer is not None else None
        if peer is not None and head is not None:
            priority, wanted = head
            if replica is None or priority < replica.priority():
                if not claim(b, wanted.nbytes, priority, b.high_bytes):
                    return False
                _ask(b, peer)
                continue
        if replica is None:
            return True
        if not claim(b, replica.nbytes, replica.priority(), b.high_bytes):
            return False
        restore(b, replica)


def next_peer(b: Books) -> Peer | None:
    """The peer to be asked next; None if there is none, or enough is coming."""
    best: tuple[Priority, int, int, str] | None = None
    chosen: Peer | None = None
    for peer in b.peers.values():
        if peer.request is not None or not peer.heap:
            continue
        head = peer.head()
        if head is None:
            continue
        if b.now < peer.rests_until:
            b.arm(peer.rests_until)
            continue
        key = (head[0], peer.asks, peer.salt, peer.name)
        if best is None or key < best:
            best, chosen = key, peer
    head = chosen.head() if chosen is not None and b.asking else None
    if head is not None and b.incoming_bytes + head[1].nbytes > b.limits.incoming_bytes:
        return None
    return chosen


def _ask(b: Books, peer: Peer) -> None:
    """Ask a peer for a batch. Room for its first object is there."""
    limits = b.limits
    request = Request(b.next_serial(), [], 0, 0.0)
    while (head := peer.head()) is not None:
        replica = head[1]
        nbytes = replica.nbytes
        if request.replicas:
            if request.nbytes + nbytes > limits.batch_bytes:
                break
            if b.incoming_bytes + request.nbytes + nbytes > limits.incoming_bytes:
                break
            if b.budget and b.used + nbytes > b.high_bytes:
                break
        peer.pop()
        replica.place = Place.asked
        b.used += nbytes
        assert replica.search is not None
        replica.search.asked_of = peer.name
        del b.sought[replica.key]
        request.replicas.append(replica)
        request.nbytes += nbytes
    request.due = b.now + limits.transfer_s + request.nbytes / limits.slowest_bytes_s
    b.arm(request.due)
    peer.request = request
    peer.asks += 1
    b.asking += 1
    b.incoming_bytes += request.nbytes
    objects = tuple(Attempt(r.id, r.attempt) for r in request.replicas)
    b.out.send(peer.name, GetData(request.ask, objects))


# --- answers -----------------------------------------------------------------------------------


def data(b: Books, message: Data, source: str) -> None:
    """A peer has sent objects. What nobody looks for any longer is forgotten at once."""
    for held in message.objects:
        key = (held.id, held.attempt)
        replica = b.store.get(key)
        if replica is None:
            b.refuse("data that nobody wants")
            b.out.commands.append(Discard(held.id, held.attempt))
        elif replica.search is None:
            b.refuse("object was here")
        else:
            add(b, held.id, held.attempt, held.nbytes, held.type, held.rows)
            b.out.hold(held)
    peer = b.peers.get(source)
    if peer is None or peer.request is None or peer.request.ask != message.ask:
        return b.refuse("data not asked for")
    peer.rests = 0
    for replica in _resolve(b, peer):
        strike(b, replica, peer.name)
    return None


def busy(b: Books, message: Busy, source: str) -> None:
    """A peer cannot serve now: somebody else may, or it later."""
    peer = b.peers.get(source)
    if peer is None or peer.request is None or peer.request.ask != message.ask:
        return b.refuse("not asked")
    limits = b.limits
    peer.rests_until = b.now + min(limits.busy_s * 2.0 ** min(peer.rests, 30), limits.busy_max_s)
    peer.rests += 1
    b.arm(peer.rests_until)
    for replica in _resolve(b, peer):
        line_up(b, replica)
    return None


def _resolve(b: Books, peer: Peer) -> list[Replica]:
    """The request is over; return what it has not brought, looked for again."""
    request, peer.request = peer.request, None
    assert request is not None
    b.asking -= 1
    b.incoming_bytes -= request.nbytes
    b.room_due = True
    left = []
    for replica in request.replicas:
        search = replica.search
        if replica.place is Place.asked and search is not None and search.asked_of == peer.name:
            replica.place = Place.absent
            search.asked_of = ""
            b.used -= replica.nbytes
            b.sought[replica.key] = replica
            left.append(replica)
    return left


def strike(b: Books, replica: Replica, name: str) -> None:
    """This peer does not have the object, or is not to be reached."""
    search = replica.search
    if search is None:
        return
    search.holders.pop(name, None)
    search.struck[name] = None
    if search.holders:
        line_up(b, replica)
    else:
        b.hopeless.append(replica)


def peer_lost(b: Books, name: str) -> None:
    """The link to a peer is lost, and with it what it was asked for."""
    peer = b.peers.get(name)
    if peer is None or peer.request is None:
        return
    for replica in _resolve(b, peer):
        strike(b, replica, name)


def mind_requests(b: Books) -> None:
    """A peer that does not answer in time counts as unreachable, for all it should have."""
    for peer in list(b.peers.values()):
        if peer.request is None:
            continue
        if b.now < peer.request.due:
            b.arm(peer.request.due)
            continue
        _resolve(b, peer)
        for replica in list(b.sought.values()):
            if replica.search is not None and peer.name in replica.search.holders:
                strike(b, replica, peer.name)


def mind_orders(b: Books) -> None:
    """A copy that was ordered and cannot be had in time is given up."""
    for replica in list(b.ordered.values()):
        search = replica.search
        if search is None or search.due is None:
            continue
        if b.now < search.due:
            b.arm(search.due)
        elif replica.place is Place.absent:
            b.out.tell(NotFetched(replica.id, replica.attempt, tuple(search.struck)))
            free(b, replica)
