"""The static order: whatever is asked, it is one; and it keeps few results alive."""

from __future__ import annotations

import random
import subprocess
import sys
from collections import deque
from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.architecture.house import ROOT
from tests.simulation.graphs import WORKLOADS, Graph
from treadle.scheduler._order import Cycle, depth_first_order


def peak_live(dependencies, places):
    """Count the results alive at once if the tasks run one by one in this order: each from its run
    to its last user's, a final one for ever. Fails if a task runs before one it depends on."""
    users = [0] * len(dependencies)
    for its in dependencies:
        for one in its:
            users[one] += 1
    has_run = [False] * len(dependencies)
    live = peak = 0
    for node in sorted(range(len(dependencies)), key=places.__getitem__):
        live += 1
        peak = max(peak, live)
        for one in dependencies[node]:
            assert has_run[one], f"{node} runs before {one}, on which it depends"
            users[one] -= 1
            live -= not users[one]
        has_run[node] = True
    return peak


def breadth_first(dependencies):
    """Give places as a queue of ready tasks does."""
    users = [[] for _ in dependencies]
    for node, its in enumerate(dependencies):
        for one in its:
            users[one].append(node)
    lacks = [len(its) for its in dependencies]
    ready = deque(node for node, count in enumerate(lacks) if not count)
    places = [-1] * len(dependencies)
    for place in range(len(dependencies)):
        node = ready.popleft()
        places[node] = place
        for user in users[node]:
            lacks[user] -= 1
            if not lacks[user]:
                ready.append(user)
    return places


def shuffled(dependencies, seed=1):
    """Give the same graph with its tasks numbered by chance."""
    rng = random.Random(seed)
    numbers = list(range(len(dependencies)))
    rng.shuffle(numbers)
    result = [()] * len(dependencies)
    for node, its in enumerate(dependencies):
        result[numbers[node]] = tuple(rng.sample([numbers[one] for one in its], len(its)))
    return result


def folded(leaves, arity):
    graph = Graph("")
    level = [graph.add("leaf", 1, 1) for _ in range(leaves)]
    while len(level) > 1:
        level = [
            graph.add("fold", 1, 1, *level[i : i + arity]) for i in range(0, len(level), arity)
        ]
    return graph.dependencies()


def field(width, steps):
    graph = Graph("")
    for step in range(steps):
        for i in range(width):
            near = range(max(0, i - 1), min(width, i + 2)) if step else ()
            graph.add("cell", 1, 1, *((step - 1) * width + one for one in near))
    return graph.dependencies()


def shuffle(maps, reducers, *, split):
    graph = Graph("")
    blocks = [graph.add("map", 1, 1) for _ in range(maps)]
    for column in [
        [graph.add("split", 1, 1, block) if split else block for block in blocks]
        for _ in range(reducers)
    ]:
        graph.add("reduce", 1, 1, *column)
    return graph.dependencies()


@st.composite
def graphs(draw):
    """A graph of up to 40 tasks, numbered by chance, some depending twice on the same."""
    size = draw(st.integers(0, 40))
    spans = st.lists(st.integers(1, 12), max_size=4)
    ordered = [sorted(max(0, node - span) for span in draw(spans)) for node in range(size)]
    ordered = [[one for one in its if one < node] for node, its in enumerate(ordered)]
    return shuffled(ordered, draw(st.integers(0, 99)))


@given(graphs())
def test_every_task_has_a_place_of_its_own_after_its_dependencies(dependencies):
    places = depth_first_order(dependencies)
    assert sorted(places) == list(range(len(dependencies)))
    peak_live(dependencies, places)


@given(graphs())
def test_the_peak_is_never_above_that_of_breadth_first(dependencies):
    mine = peak_live(dependencies, depth_first_order(dependencies))
    assert mine <= peak_live(dependencies, breadth_first(dependencies))


@given(graphs())
def test_equal_graphs_get_equal_orders_and_are_left_as_they_were(dependencies):
    copy = [list(its) for its in dependencies]
    assert depth_first_order(copy) == depth_first_order(dependencies)
    assert copy == [list(its) for its in dependencies]


@given(graphs().filter(bool), st.data())
def test_a_ring_is_refused_and_its_tasks_are_named(dependencies, data):
    ring = data.draw(st.permutations(range(len(dependencies))))
    ring = ring[: data.draw(st.integers(1, len(ring)))]
    closed = [list(its) for its in dependencies]
    for node, following in zip(ring, [*ring[1:], ring[0]], strict=True):
        closed[node].append(following)
    with pytest.raises(Cycle) as caught:
        depth_first_order(closed)
    found = caught.value.nodes
    assert len(set(found)) == len(found) >= 1
    for node, following in zip(found, [*found[1:], found[0]], strict=True):
        assert following in closed[node]


def test_the_error_of_a_ring_shows_the_ring():
    with pytest.raises(ValueError, match=r"ring of 3, each on the next: 1 -> 2 -> 3 -> 1; none"):
        depth_first_order([[], [2], [3, 0], [1]])
    with pytest.raises(ValueError, match=r"ring of 1, each on the next: 0 -> 0;"):
        depth_first_order([[0]])
    with pytest.raises(ValueError, match=r"ring of 99, .*: 0 -> 1 -> .* -> 6 -> \.\.\. -> 0;"):
        depth_first_order([[(node + 1) % 99] for node in range(99)])


def least_peak_of_a_tree(dependencies):
    """Say what Sethi and Ullman proved: the child whose own peak is highest goes first."""
    peaks = []
    for its in dependencies:
        below = sorted((peaks[one] for one in its), reverse=True)
        peaks.append(max([len(its) + 1, *(peak + held for held, peak in enumerate(below))]))
    return max(peaks, default=0)


@given(st.integers(1, 120), st.integers(1, 5), st.integers(0, 1_000))
def test_no_order_of_a_tree_does_better(leaves, arity, seed):
    rng = random.Random(seed)
    graph = Graph("")
    open_ = [graph.add("leaf", 1, 1) for _ in range(leaves)]
    while len(open_) > 1 or (open_ and rng.random() < 0.5):
        rng.shuffle(open_)
        count = rng.randint(1, arity + 1)
        open_[:count] = [graph.add("fold", 1, 1, *open_[:count])]
    dependencies = graph.dependencies()
    mixed = shuffled(dependencies, seed)
    least = least_peak_of_a_tree(dependencies)
    assert peak_live(mixed, depth_first_order(mixed)) == least
    if arity == 1 and leaves > 1:
        assert least <= log2(leaves) + 2


#: A graph, and the most results that may be alive at once. What can be reached stands beside it.
NAMED = {
    "binary tree of 1,024": (folded(1024, 2), 12),  # 12: a leaf for each level
    "8-ary tree of 4,096": (folded(4096, 8), 30),  # 30: seven for each of four levels, and two
    "chains": ([() if node < 100 else (node - 100,) for node in range(1_000)], 101),  # 100 ends
    "chains and a reducer": (
        [() if i < 50 else (i - 50,) for i in range(500)] + [tuple(range(450, 500))],
        51,
    ),
    "shuffle of 30 x 30 pieces": (shuffle(30, 30, split=True), 90),  # blocks, one column, results
    "shuffle without pieces": (shuffle(30, 20, split=False), 50),  # all blocks, all results
    "field, long": (field(20, 100), 22),  # a step and two cells
    "field, wide": (field(200, 8), 202),  # a step and two cells
    "one to many": ([(), *[(0,)] * 500], 501),
    "fan in": ([*[()] * 500, tuple(range(500))], 501),
}


#: Where the order of the numbers helps: breadth first goes through a field from left to right.
MIXED = {"field, long": 32, "field, wide": 210}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("mixed", [False, True], ids=["as given", "shuffled"])
def test_few_results_of_a_known_graph_are_alive_at_once(name, mixed):
    dependencies, most = NAMED[name]
    if mixed:
        dependencies = shuffled(dependencies)
        most = MIXED.get(name, most)
    assert peak_live(dependencies, depth_first_order(dependencies)) <= most


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_workload_is_never_worse_than_breadth_first(name):
    dependencies = WORKLOADS[name](1_000, 0).dependencies()
    mine = peak_live(dependencies, depth_first_order(dependencies))
    assert mine <= peak_live(dependencies, breadth_first(dependencies))


def test_a_chain_stays_together():
    chains = [() if node < 5 else (node - 5,) for node in range(50)]  # given step by step
    places = depth_first_order(chains)
    for chain in range(5):
        mine = [places[node] for node in range(chain, 50, 5)]
        assert mine == list(range(mine[0], mine[0] + 10))


def test_the_longest_chain_into_a_common_reducer_is_begun_first():
    dependencies = [(), (), (1,), (2,), (), (4,), (0, 3, 5)]
    places = depth_first_order(dependencies)
    assert [places[node] for node in (1, 2, 3)] == [0, 1, 2]


def test_equals_run_in_the_order_given():
    assert depth_first_order([(), (), (), (0, 1, 2)]) == [0, 1, 2, 3]
    assert depth_first_order([(), (), (), (2, 0, 1)]) == [1, 2, 0, 3]
    assert depth_first_order([(), (0,), (0,), (0,)]) == [0, 1, 2, 3]
    assert depth_first_order([()] * 9) == list(range(9))


def test_of_the_users_of_a_result_the_one_that_lacks_least_is_next():
    shared, more, less = 0, (0, 1, 2, 3), (0, 4)
    dependencies = [(), (), (), (), (), more, less, (), (), (), (), (shared, 7, 8, 9, 10)]
    places = depth_first_order(dependencies)
    assert places[11] < places[6] < places[5]


def test_a_chain_of_any_length_is_no_recursion():
    length = 20_000
    chain = [(node - 1,) if node else () for node in range(length)]
    assert depth_first_order(chain) == list(range(length))
    backwards = [(node + 1,) if node + 1 < length else () for node in range(length)]
    assert depth_first_order(backwards) == list(range(length))[::-1]


def test_one_result_with_very_many_users_costs_no_more_for_each():
    """Quadratic, this would take minutes and not end in time."""
    many = 30_000
    dependencies = [(), (), *[(0, 1)] * many, tuple(range(2, many + 2))]
    assert peak_live(dependencies, depth_first_order(dependencies)) <= many + 2


def test_nothing_is_an_order_of_nothing():
    assert depth_first_order([]) == []


def test_the_order_does_not_depend_on_the_seed_of_hashes():
    program = (
        "from tests.simulation.graphs import layered\n"
        "from treadle.scheduler._order import depth_first_order\n"
        "print(depth_first_order(layered(300).dependencies()))"
    )
    answers = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(answers) == 1
