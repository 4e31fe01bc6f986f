"""The workloads are what they say, and the bounds are bounds."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.simulation.graphs import WORKLOADS, Graph, chains, map_reduce, montage, stencil, tree

EACH = pytest.mark.parametrize("name", WORKLOADS)


@EACH
@pytest.mark.parametrize("tasks", [1, 30, 2_000])
def test_a_workload_is_a_graph_of_about_the_size_asked_for(name, tasks):
    graph = WORKLOADS[name](tasks, 0)
    assert 0.9 * tasks - 30 <= len(graph) <= 1.1 * tasks + 60
    for number, node in enumerate(graph.nodes):
        assert all(0 <= one < number for one in node.dependencies)
        assert len(set(node.dependencies)) == len(node.dependencies)
        assert node.duration_s > 0
        assert node.nbytes > 0


@EACH
def test_the_seed_decides_everything(name):
    make = WORKLOADS[name]
    assert make(500, 3).nodes == make(500, 3).nodes
    assert make(500, 3).nodes != make(500, 4).nodes


def test_the_bounds_of_a_small_graph():
    graph = Graph("diamond")
    top = graph.add("a", 1.0, 100)
    left = graph.add("b", 2.0, 10, top)
    right = graph.add("c", 5.0, 20, top)
    graph.add("d", 1.5, 1, left, right)
    graph.add("e", 0.5, 3, top)
    assert graph.work_s() == 10
    assert graph.critical_path_s() == 7.5
    assert graph.least_makespan_s(1) == 10
    assert graph.least_makespan_s(2) == 7.5
    assert graph.least_memory_bytes() == 120
    assert graph.input_bytes() == 100 + 100 + 30 + 100
    assert list(graph.finals()) == [3, 4]


def test_final_results_are_all_in_memory_at_the_end():
    graph = Graph("two")
    graph.add("a", 1, 5)
    graph.add("b", 1, 6)
    assert graph.least_memory_bytes() == 11


def test_nothing_has_no_bounds():
    graph = Graph("nothing")
    assert (graph.work_s(), graph.critical_path_s(), graph.least_makespan_s(3)) == (0, 0, 0)
    assert (graph.least_memory_bytes(), graph.input_bytes(), list(graph.finals())) == (0, 0, [])


def test_a_mosaic_has_the_steps_of_montage():
    graph = montage(1_000)
    names = [node.name for node in graph.nodes]
    assert names.count("mProject") == names.count("mBackground")
    assert {len(n.dependencies) for n in graph.nodes if n.name == "mDiffFit"} == {2}
    (fits,) = (node for node in graph.nodes if node.name == "mConcatFit")
    assert len(fits.dependencies) == names.count("mDiffFit") > 2 * names.count("mProject")
    assert [graph.nodes[number].name for number in graph.finals()] == ["mJPEG"]


def test_each_reducer_takes_a_piece_of_every_block():
    graph = map_reduce(1_000)
    maps = [number for number, node in enumerate(graph.nodes) if node.name == "map"]
    for node in graph.nodes:
        if node.name == "reduce":
            assert [graph.nodes[piece].dependencies for piece in node.dependencies] == [
                (block,) for block in maps
            ]


def test_a_tree_folds_into_one_result():
    assert len(list(tree(1_000).finals())) == 1
    assert len(list(tree(1_000, 0, 2).finals())) == 1


def test_chains_are_given_step_by_step():
    graph = chains(100, 0, 10)
    assert len(list(graph.finals())) == 10
    steps = [int(node.name.removeprefix("step")) for node in graph.nodes]
    assert all(after - before in (0, 1) for before, after in pairwise(steps))


def test_a_strip_takes_itself_and_its_neighbours():
    graph = stencil(40, 0, 4)
    assert [node.dependencies for node in graph.nodes[:12]] == [()] * 10 + [(0, 1), (0, 1, 2)]
    assert graph.nodes[19].dependencies == (8, 9)
