"""What the processes of a cluster are told when they start. Values only; sent as JSON on a pipe."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from treadle.cluster._connection import Connection
from treadle.wire import World


class WorkerSettings(Struct, frozen=True, kw_only=True):
    """One worker.

    `slots`: processes that run tasks, one at a time each. `resources`: amounts by name that tasks
    may ask for (memory in bytes, under 'memory', and 'cores' and 'gpus' among them).
    `store_bytes`: budget of the store (0: made from the memory it may use). `slot_memory_bytes`:
    most private memory of a task that asks for none itself (0: no limit). `accelerators`: one name
    for each slot, or fewer. `preload`: modules that slots have from the start. `environment`: set
    for slots. `recycle_bytes`: a slot that has grown by so much is replaced between tasks.
    `orphan_s`: without a scheduler for so long, it ends. `ends_in_s`: how long its block has.
    """

    id: str
    slots: int
    block: str = ""
    host: str = ""
    resources: dict[str, float] = {}
    store_bytes: int = 0
    spill_dir: str = ""
    log_dir: str = ""
    slot_memory_bytes: int = 0
    recycle_bytes: int = 1 << 30
    threads_per_slot: int = 1
    cpu_affinity: str = "none"
    accelerators: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()
    environment: dict[str, str] = {}
    addresses: tuple[str, ...] = ()
    interface: str = ""
    ports: tuple[int, int] = (0, 0)
    orphan_s: float = 8.0
    ends_in_s: float | None = None
    echo: bool = True
    #: Most bytes of one task's standard output, and error, that are kept.
    output_bytes: int = 16 << 20
    #: Where its scheduler is, for clients that its tasks make.
    scheduler: Connection | None = None


class SchedulerSettings(Struct, frozen=True, kw_only=True):
    """One scheduler. `run_dir`: a private directory for its sockets, which its owner holds; empty:
    it makes one of its own, and takes it away at its end. `beat_s`, `lease_s`, `prefetch_s`,
    `deaths`: see `treadle.scheduler.Policy`.

    `listen_tls`: it takes links from other machines too. `linger_s`: without a client for so long,
    one that has no owner ends; None: never.
    """

    run: str
    run_dir: str = ""
    connection_file: str = ""
    listen_tls: bool = False
    addresses: tuple[str, ...] = ()
    interface: str = ""
    ports: tuple[int, int] = (0, 0)
    beat_s: float = 3.0
    lease_s: float = 12.0
    prefetch_s: float = 0.005
    deaths: int = 3
    linger_s: float | None = 30.0
    log_dir: str = ""
    validate: bool = False
    #: See `treadle.scheduler.Policy`.
    closed: bool = False


class NodeSettings(Struct, frozen=True, kw_only=True):
    """What `python -m treadle node` is: a scheduler, and a worker in the same process if there are
    settings for one. `owner`: the name of the client at the other end of the link it inherits; when
    that ends, so does the node."""

    scheduler: SchedulerSettings
    worker: WorkerSettings | None = None
    owner: str = ""
    world: World | None = None


def to_json(settings: Struct) -> bytes:
    """The settings as a line of JSON."""
    return msgspec.json.encode(settings)


def node_settings(line: bytes) -> NodeSettings:
    """Read a line that `to_json` made.

    Raises:
        msgspec.ValidationError: it is none.
    """
    return msgspec.json.decode(line, type=NodeSettings)
