"""Graphs at scale: small ones, whose figures are known beforehand."""

from __future__ import annotations

import pytest

from tests.simulation.graphs import Graph, layered
from tests.simulation.scale import run_graph


def test_a_chain_takes_its_durations_and_the_ways_between():
    graph = Graph("chain")
    for number in range(10):
        graph.add("link", 1.0, 1000, *([number - 1] if number else []))
    figures = run_graph(graph, workers=3, latency=0.001)
    assert figures.tasks == 10
    assert figures.moved_bytes == 0
    assert figures.makespan_s == pytest.approx(10.0 + 10 * 2 * 0.001, abs=0.01)
    assert figures.peak_bytes <= 3 * 1000


def test_a_bag_is_spread_over_all_slots():
    graph = Graph("bag")
    for _ in range(40):
        graph.add("item", 1.0, 10)
    figures = run_graph(graph, workers=5, slots=2)
    assert 4.0 <= figures.makespan_s < 5.0
    assert figures.peak_bytes == 400


def test_the_same_graph_has_the_same_figures():
    first, second = (run_graph(layered(300), workers=10) for _ in range(2))
    assert first.makespan_s == second.makespan_s
    assert first.moved_bytes == second.moved_bytes
    assert first.messages == second.messages
