"""The deterministic simulator: the real scheduler and worker machines in virtual time.

One seed is one run: a random cluster, a random half of the faults, random programs of several
clients. A run has a chaotic phase, in which only safety is checked, and a quiet one, in which all
that was begun must end. The same seed gives the same run everywhere, under every hash seed.

    scripts/simulate --seeds 200
"""
