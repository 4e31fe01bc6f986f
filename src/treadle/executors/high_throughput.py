"""Parsl's main executor by name and options, on the cluster executor.

Each option that Parsl's users write is taken: it means what it meant, or, where this cluster has
nothing of the kind, it is accepted and does nothing; the class says which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from treadle.cluster._options import usable_cores
from treadle.errors import ConfigurationError, UnsupportedFeatureError
from treadle.executors.cluster import CallFuture, ClusterExecutor
from treadle.log import logger

if TYPE_CHECKING:
    from treadle.data_provider.staging import Staging
    from treadle.executors.status_handling import ErrorHandler
    from treadle.providers import ExecutionProvider

_log = logger("executors")

HTEXFuture = CallFuture

_GB: Final = 10**9


class ManagerSelector:
    """Accepted: the scheduler itself chooses where a task runs, by what is free and what is near."""


class RandomManagerSelector(ManagerSelector):
    """Accepted; see `ManagerSelector`."""


class BlockIdManagerSelector(ManagerSelector):
    """Accepted; see `ManagerSelector`."""


class HighThroughputExecutor(ClusterExecutor):
    """Runs tasks on blocks of workers, with the options of Parsl's executor of this name.

    Without a provider there is one worker, on this machine, in no block. These options do nothing
    here: `encrypted` (links between machines always are), `prefetch_capacity` (workers are given
    milliseconds of work ahead, not tasks), `interchange_launch_cmd`, `loopback_address`,
    `interchange_port_range`, `worker_debug`, `poll_period`, `address_probe_timeout`,
    `manager_selector`, `start_method`, `remote_monitoring_radio`, `worker_ports`.

    Args:
        label: its name, unique within a kernel.
        provider: starts blocks; None: one worker on this machine.
        launch_cmd: a line around the worker's own, which stands in it as `{command}`.
        address: where other machines reach this one; None: found out.
        worker_port: the port at which workers reach the scheduler.
        worker_port_range: the ports of which it takes one; as in Parsl, the second is not of them.
        storage_access: staging providers; None: the default ones; []: none.
        working_dir: where relative staged files go.
        cores_per_worker: cores of each slot; may be less than 1.
        mem_per_worker: GB of memory for each slot; bounds how many there are.
        max_workers_per_node: most slots of a node; `max_workers` is its older name.
        cpu_affinity: 'none', 'block', 'block-reverse', 'alternating' or 'list:...'.
        available_accelerators: how many there are, or their names; each slot sees one.
        heartbeat_threshold: after so many seconds of silence a worker on another machine is lost.
        heartbeat_period: seconds between its signs of life.
        drain_period: seconds after which a block's workers take no more tasks, and end.
        worker_logdir_root: where workers write their logs; None: the run directory.
        block_error_handler: see `BlockProviderExecutor`.
        managed: the kernel starts it and shuts it down; if False, both are yours.
    """

    def __init__(
        self,
        label: str = "HighThroughputExecutor",
        provider: ExecutionProvider | None = None,
        launch_cmd: str | None = None,
        interchange_launch_cmd: Sequence[str] | str | None = None,
        address: str | None = None,
        loopback_address: str = "127.0.0.1",
        worker_ports: tuple[int, int] | None = None,
        worker_port: int | None = None,
        worker_port_range: tuple[int, int] | None = None,
        interchange_port_range: tuple[int, int] | None = None,
        storage_access: list[Staging] | None = None,
        working_dir: str | None = None,
        worker_debug: bool = False,
        cores_per_worker: float = 1.0,
        mem_per_worker: float | None = None,
        max_workers: float | None = None,
        max_workers_per_node: float | None = None,
        cpu_affinity: str = "none",
        available_accelerators: int | Sequence[str] = (),
        prefetch_capacity: int = 0,
        heartbeat_threshold: float = 120,
        heartbeat_period: float = 30,
        drain_period: float | None = None,
        poll_period: int = 10,
        address_probe_timeout: float | None = None,
        worker_logdir_root: str | None = None,
        manager_selector: ManagerSelector | None = None,
        block_error_handler: bool | ErrorHandler = True,
        encrypted: bool = True,
        enable_mpi_mode: bool = False,
        mpi_launcher: str = "mpiexec",
        start_method: str | None = None,
        managed: bool = True,
        remote_monitoring_radio: object = None,
    ) -> None:
        given = dict(locals())
        del given["self"], given["__class__"]
        _check(given)
        super().__init__(label, **_cluster_options(given))
        for name in given.keys() - _OURS:
            setattr(self, name, given[name])
        self._most_slots = _most_slots(given)
        self._size_per_slot = int((mem_per_worker or 0) * _GB)
        self._block_ends_in_s = drain_period
        self._scheduler_ports = _ports(given)
        self._launch_template = _template(launch_cmd, label)
        self._log_root = worker_logdir_root


def _cluster_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the cluster executor that mean the same."""
    same = _OURS - {"label"}
    return {
        **{name: given[name] for name in same},
        "slots": _slots_here(given) if given["provider"] is None else None,
        "cores_per_slot": given["cores_per_worker"],
        "accelerators": _accelerators(given["available_accelerators"]),
        "lease": given["heartbeat_threshold"],
    }


#: What `ClusterExecutor` keeps under the same name.
_OURS = frozenset(
    {
        "label",
        "provider",
        "address",
        "storage_access",
        "working_dir",
        "cpu_affinity",
        "heartbeat_period",
        "block_error_handler",
    }
)


def _check(given: Mapping[str, Any]) -> None:
    """Refuse what cannot be; the cluster executor checks the rest."""
    wrong = []
    for name in ("cores_per_worker", "mem_per_worker", "drain_period"):
        value = given[name]
        if value is not None and not (_is_number(value) and value > 0):
            wrong.append(f"{name}={value!r}: give a number above 0")
    for name in ("max_workers", "max_workers_per_node"):
        value = given[name]
        if value is not None and not (_is_number(value) and value >= 1):
            wrong.append(f"{name}={value!r}: give a whole number of at least 1, or None")
    ports = given["worker_port_range"]
    if ports is not None and not (len(ports) == 2 and 0 < ports[0] < ports[1] <= 65536):
        wrong.append(f"worker_port_range={ports!r}: give (first, one after the last) of ports")
    port = given["worker_port"]
    if port is not None and not (type(port) is int and 0 < port < 65536):
        wrong.append(f"worker_port={port!r}: give a port from 1 to 65535")
    if wrong:
        raise ConfigurationError(f"HighThroughputExecutor({given['label']!r}): {'; '.join(wrong)}")
    if given["enable_mpi_mode"]:
        raise UnsupportedFeatureError("enable_mpi_mode", f"HighThroughputExecutor {given['label']}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _most_slots(given: Mapping[str, Any]) -> int | None:
    most = given["max_workers"]
    if most is None:
        most = given["max_workers_per_node"]
    return None if most is None or most == float("inf") else int(most)


def _slots_here(given: Mapping[str, Any]) -> int:
    """How many slots a worker on this machine has."""
    counts = [int(usable_cores() / given["cores_per_worker"])]
    if (most := _most_slots(given)) is not None:
        counts.append(most)
    if given["mem_per_worker"] is not None:
        import psutil  # noqa: PLC0415 - only for this question

        counts.append(int(psutil.virtual_memory().total / (given["mem_per_worker"] * _GB)))
    accelerators = _accelerators(given["available_accelerators"])
    if count := accelerators if isinstance(accelerators, int) else len(accelerators):
        counts.append(count)
    return max(1, min(counts))


def _accelerators(value: int | Sequence[str]) -> int | list[str]:
    return value if isinstance(value, int) else list(value)


def _ports(given: Mapping[str, Any]) -> tuple[int, int] | None:
    """Where the scheduler listens: the lowest and the highest port."""
    if given["worker_port"] is not None:
        return given["worker_port"], given["worker_port"]
    ports = given["worker_port_range"]
    return None if ports is None else (ports[0], ports[1] - 1)


def _template(launch_cmd: str | None, label: str) -> str:
    if launch_cmd is None:
        return "{command}"
    if "{command}" not in launch_cmd:
        _log.warning(
            "executor %s: launch_cmd starts no worker of ours and is not used; put {command} where "
            "the worker's command belongs",
            label,
        )
        return "{command}"
    return launch_cmd
