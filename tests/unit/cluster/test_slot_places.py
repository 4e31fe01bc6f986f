"""Which cores and accelerators a slot has."""

import pytest

from treadle.cluster._python import thread_variables
from treadle.cluster._slot_places import (
    accelerator_variables,
    affinity_variables,
    check_affinity,
    cores_of,
    worker_variables,
)
from treadle.errors import ConfigurationError

CORES = [0, 1, 2, 3, 8, 9, 10, 11]


@pytest.mark.parametrize(
    ("affinity", "rank", "cores"),
    [
        ("none", 0, []),
        ("block", 0, [0, 1, 2, 3]),
        ("block", 1, [8, 9, 10, 11]),
        ("block-reverse", 0, [8, 9, 10, 11]),
        ("block-reverse", 1, [0, 1, 2, 3]),
        ("alternating", 0, [0, 2, 8, 10]),
        ("alternating", 1, [1, 3, 9, 11]),
        ("list:0-2:5,7-8", 0, [0, 1, 2]),
        ("list:0-2:5,7-8", 1, [5, 7, 8]),
        ("block", 2, [0, 1, 2, 3]),  # more slots than there should be, for a moment
    ],
)
def test_cores_go_by_rank(affinity: str, rank: int, cores: list[int]) -> None:
    assert cores_of(affinity, rank, 2, CORES) == cores


def test_with_fewer_cores_than_slots_nobody_is_bound() -> None:
    assert cores_of("block", 0, 3, [0, 1]) == []


def test_what_does_not_divide_is_nobodys() -> None:
    assert [cores_of("block", rank, 3, CORES) for rank in range(3)] == [[0, 1], [2, 3], [8, 9]]


@pytest.mark.parametrize(
    "affinity", ["", "blok", "list", "list:", "blocks:1", "list:1:x", "list:3-1:1"]
)
def test_an_affinity_that_cannot_be_is_refused_with_what_can(affinity: str) -> None:
    with pytest.raises(ConfigurationError, match="cpu_affinity"):
        check_affinity(affinity, 2)


def test_a_list_is_for_all_slots() -> None:
    with pytest.raises(ConfigurationError, match="for 2 slots; the worker has 3"):
        check_affinity("list:0:1", 3)


def test_libraries_are_told_of_cores_and_threads() -> None:
    assert thread_variables(3)["OPENBLAS_NUM_THREADS"] == "3"
    variables = affinity_variables([4, 6])
    assert variables["OMP_NUM_THREADS"] == "2"
    assert variables["GOMP_CPU_AFFINITY"] == "4 6"
    assert variables["KMP_AFFINITY"] == "explicit,proclist=[4,6]"
    assert affinity_variables([]) == {}


def test_accelerators_are_shared_if_they_are_few() -> None:
    shown = [accelerator_variables(["0", "1"], rank)["CUDA_VISIBLE_DEVICES"] for rank in range(3)]
    assert shown == ["0", "1", "0"]
    assert accelerator_variables(["7"], 0)["ZE_AFFINITY_MASK"] == "7"
    assert accelerator_variables([], 0) == {}


def test_a_task_can_tell_where_it_runs() -> None:
    variables = worker_variables("w1", "3", 4, 17, 2)
    assert variables["TREADLE_WORKER_RANK"] == variables["PARSL_WORKER_RANK"] == "2"
    assert variables["TREADLE_WORKER_SLOT"] == "17"
    assert variables["PARSL_WORKER_COUNT"] == "4"
    assert variables["PARSL_WORKER_POOL_ID"] == "w1"
    assert variables["PARSL_WORKER_BLOCK_ID"] == variables["TREADLE_WORKER_BLOCK"] == "3"
