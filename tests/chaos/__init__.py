"""Kills at random instants, of real processes; `tests/integration/test_cluster_kills.py` runs them."""
