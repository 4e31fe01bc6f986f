"""Parsl's executor by name: every option is taken, and what means something is passed on."""

from __future__ import annotations

import pytest

from treadle.cluster import _options as _cluster_options
from treadle.errors import ConfigurationError, UnsupportedFeatureError
from treadle.executors.cluster import ClusterExecutor
from treadle.executors.high_throughput import (
    BlockIdManagerSelector,
    HighThroughputExecutor,
    RandomManagerSelector,
)
from treadle.providers import LocalProvider


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch):
    monkeypatch.setattr("treadle.executors.high_throughput.usable_cores", lambda: 8)


ALL = {
    "label": "htex_local",
    "launch_cmd": "exec {command}",
    "interchange_launch_cmd": ["interchange.py"],
    "address": "127.0.0.1",
    "loopback_address": "127.0.0.1",
    "worker_ports": (54001, 54002),
    "worker_port": 54003,
    "worker_port_range": (54000, 55000),
    "interchange_port_range": (55000, 56000),
    "storage_access": [],
    "working_dir": "/scratch",
    "worker_debug": True,
    "cores_per_worker": 0.5,
    "mem_per_worker": 1.5,
    "max_workers": 4,
    "max_workers_per_node": 4,
    "cpu_affinity": "block",
    "available_accelerators": ["0", "1"],
    "prefetch_capacity": 10,
    "heartbeat_threshold": 60,
    "heartbeat_period": 15,
    "drain_period": 3600,
    "poll_period": 100,
    "address_probe_timeout": 5,
    "worker_logdir_root": "/scratch/logs",
    "manager_selector": RandomManagerSelector(),
    "block_error_handler": False,
    "encrypted": False,
    "enable_mpi_mode": False,
    "mpi_launcher": "srun",
    "start_method": "spawn",
    "managed": True,
    "remote_monitoring_radio": None,
}


def test_every_option_is_taken_and_kept():
    provider = LocalProvider()
    executor = HighThroughputExecutor(provider=provider, **ALL)
    for name, value in ALL.items():
        assert getattr(executor, name) == value, name
    assert executor.provider is provider
    assert isinstance(executor, ClusterExecutor)
    text = repr(executor)
    assert all(f"{name}=" in text for name in ALL)


@pytest.mark.parametrize("name", sorted(ALL))
def test_each_option_is_taken_alone(name):
    HighThroughputExecutor(**{name: ALL[name]})


def test_what_means_something_here_is_passed_on():
    executor = HighThroughputExecutor(provider=LocalProvider(), **ALL)
    options = executor._options
    assert options["cores_per_slot"] == 0.5
    assert options["lease"] == 60
    assert options["heartbeat_period"] == 15
    assert options["accelerators"] == ["0", "1"]
    assert options["cpu_affinity"] == "block"
    assert options["slots"] is None  # decided on the block's node
    assert executor._most_slots == 4
    assert executor._size_per_slot == 1_500_000_000
    assert executor._block_ends_in_s == 3600
    assert executor._scheduler_ports == (54003, 54003)
    assert executor._launch_template == "exec {command}"


def test_a_range_of_ports_ends_before_its_second_number():
    assert HighThroughputExecutor(worker_port_range=(54000, 55000))._scheduler_ports == (
        54000,
        54999,
    )
    assert HighThroughputExecutor()._scheduler_ports is None


@pytest.mark.parametrize(
    ("options", "slots"),
    [
        ({}, 8),
        ({"cores_per_worker": 3}, 2),
        ({"cores_per_worker": 0.25}, 32),
        ({"cores_per_worker": 100}, 1),
        ({"max_workers_per_node": 3}, 3),
        ({"max_workers": 3}, 3),
        ({"max_workers_per_node": 100}, 8),
        ({"max_workers": float("inf")}, 8),
        ({"available_accelerators": 2}, 2),
        ({"available_accelerators": ["a", "b", "c"]}, 3),
        ({"mem_per_worker": 10**9}, 1),
    ],
)
def test_slots_of_a_worker_here_are_the_fewest_of_all_bounds(options, slots):
    assert HighThroughputExecutor(**options)._options["slots"] == slots


def test_all_that_cannot_be_is_told_at_once():
    with pytest.raises(ConfigurationError) as caught:
        HighThroughputExecutor(
            "x", cores_per_worker=0, mem_per_worker=-1, max_workers=0, worker_port=99999999,
            worker_port_range=(2, 1), drain_period=0,
        )  # fmt: skip
    text = str(caught.value)
    for part in (
        "cores_per_worker=0",
        "mem_per_worker=-1",
        "max_workers=0",
        "worker_port=",
        "drain",
    ):
        assert part in text


def test_the_cluster_executor_checks_the_rest():
    with pytest.raises(ConfigurationError, match="cpu_affinity='left'"):
        HighThroughputExecutor(cpu_affinity="left")


def test_mpi_is_said_to_be_missing():
    with pytest.raises(UnsupportedFeatureError, match="enable_mpi_mode"):
        HighThroughputExecutor(enable_mpi_mode=True)


def test_a_launch_command_of_parsl_s_own_worker_is_not_used_and_says_so(caplog):
    executor = HighThroughputExecutor(launch_cmd="process_worker_pool.py --debug")
    assert executor._launch_template == "{command}"
    assert "put {command} where" in caplog.text


def test_selectors_are_taken():
    HighThroughputExecutor(manager_selector=BlockIdManagerSelector())


def test_usable_cores_are_those_of_this_process():
    assert _cluster_options.usable_cores() >= 1
