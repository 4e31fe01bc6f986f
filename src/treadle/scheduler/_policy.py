"""What may be chosen about a scheduler's decisions."""

from __future__ import annotations

from msgspec import Struct


class Policy(Struct, frozen=True, kw_only=True):
    """Knobs, with the values that measurements recommend.

    Args:
        locality: place a task where its inputs are; False: on any worker with room, drawn by a
            counter from `seed` (to compare with).
        hold_back: tasks wait here until a worker has room; False: all that is ready is sent at
            once (to compare with).
        prefetch_s: a worker is given this much work per slot beyond what runs, in seconds.
        ahead_s: only tasks known to take less are fed to a slot behind another.
        bundle_s: a bundle is cut to this much work, in seconds.
        deaths: a task that was involved in this many deaths is erred.
        beat_s: how often a worker beats.
        aside: while so many tasks of a worker, for each of its slots, wait for others, it begins
            what was submitted from within tasks, and else one task at a time.
        lease_s: how long a worker may be silent, or without a link, before it is given up.
        linger_s: how long a result is kept that nobody wants, but that somebody may be about to:
            a future of it was pickled.
        latency_s: what a transfer costs before the first byte.
        bandwidth: bytes per second of a transfer.
        unknown_s: what a task of a prefix that has never finished is expected to take.
        closed: no other workers will come than those that are there: what none of them could ever
            run fails, once one is there, and does not wait.
        max_prefixes: prefixes without tasks that are remembered.
        seed: of the draws of `locality=False`.
    """

    locality: bool = True
    hold_back: bool = True
    prefetch_s: float = 0.005
    ahead_s: float = 0.001
    bundle_s: float = 0.001
    deaths: int = 3
    beat_s: float = 3.0
    aside: int = 4
    lease_s: float = 12.0
    linger_s: float = 60.0
    latency_s: float = 0.0005
    bandwidth: float = 1e9
    unknown_s: float = 0.5
    closed: bool = False
    max_prefixes: int = 10_000
    seed: int = 0
