"""In which order the tasks of a graph should run, so that few results are alive at once.

Two rules. *After its dependencies*: that is what an order is; where there is none, `Cycle` names the
tasks. *Finish what was begun*: a result is worth its memory only until its last user has run.

The theory. Three things are done, the first that can be:

1. A ready task that is the last user of some result runs at once: what it adds it also frees, so
   it can never be wrong, and chains stay together and reductions fold as their parts arrive.
2. The task that was aimed at is served depth first, its hungriest dependency first: the one whose
   own making holds most results (its Sethi-Ullman number; on a tree this is the least that any
   order can do), then the one with the longest way below it, so the critical path begins early.
3. A new aim is a user of the youngest result that has one, the one that lacks least; and where no
   result waits, the final result that needs most.

A sweep in steps over one field (each cell from its neighbours) is the case that this serves badly:
breadth first holds less, and its many equals keep many workers busy. So both peaks are known at
the end, and breadth first wins if its peak is lower. Everything is linear but for the sorting of
one task's neighbours, and lists are walked in the order given, so equal graphs get equal orders.
"""

from __future__ import annotations

from collections.abc import Sequence

Lists = Sequence[Sequence[int]]


class Cycle(ValueError):
    """Tasks wait for each other in a ring. `nodes`: the ring; each depends on the next."""

    def __init__(self, nodes: list[int]) -> None:
        self.nodes = nodes
        shown = [*map(str, nodes)] if len(nodes) <= 8 else [*map(str, nodes[:7]), "..."]
        super().__init__(
            f"tasks depend on each other in a ring of {len(nodes)}, each on the next: "
            f"{' -> '.join([*shown, str(nodes[0])])}; none of them can ever run, so take one of "
            "these dependencies away"
        )


def depth_first_order(dependencies: Lists) -> list[int]:
    """Give each task its place in an order that keeps few results alive.

    Args:
        dependencies: for each task the numbers of the tasks it depends on, from 0.

    Raises:
        Cycle: some tasks depend on each other.
    """
    walk = _Walk(dependencies)
    walk.run()
    order = walk.order
    if _breadth_first_peak(dependencies, walk.topological) < walk.peak:
        order = walk.topological
    places = [0] * len(order)
    for place, node in enumerate(order):
        places[node] = place
    return places


class _Walk:
    """One walk through a graph; every list has an item for each task."""

    def __init__(self, dependencies: Lists) -> None:
        self.dependencies = dependencies
        dependents: list[list[int]] = [[] for _ in dependencies]
        for node, its in enumerate(dependencies):
            for one in its:
                dependents[one].append(node)
        self.dependents = dependents
        #: How many of its dependencies have not run.
        self.missing = list(map(len, dependencies))
        #: How many of its dependents have not run, and the sum of their numbers: when one is left,
        #: the sum is its number.
        self.left = list(map(len, dependents))
        self.users = list(map(sum, dependents))
        self.has_run = bytearray(len(dependents))
        self.topological = _topological(dependencies, dependents, self.missing)
        self.hunger = _hunger(dependencies, self.topological)
        self.order: list[int] = []
        #: The most results that were alive at once.
        self.peak = 0
        #: Tasks whose results may still have users, the youngest last.
        self.recent: list[int] = []
        #: Users of a result in the order in which they are aimed at, last first.
        self.aims: dict[int, list[int]] = {}
        final = [node for node, left in enumerate(self.left) if not left]
        final.reverse()
        #: Final results, those that need most last.
        self.final = sorted(final, key=self.hunger.__getitem__)

    def run(self) -> None:
        """Walk until everything has a place."""
        dependencies, missing, has_run = self.dependencies, self.missing, self.has_run
        hunger = self.hunger.__getitem__
        live = 0
        stack: list[int] = []
        while (aim := self._aim()) is not None:
            stack.append(aim)
            while stack:
                node = stack[-1]
                if has_run[node]:
                    stack.pop()
                elif missing[node]:
                    lacking = [one for one in dependencies[node] if not has_run[one]]
                    if len(lacking) > 1:
                        lacking.reverse()
                        lacking.sort(key=hunger)
                    stack += lacking
                else:
                    stack.pop()
                    has_run[node] = 1
                    live += 1
                    if live > self.peak:
                        self.peak = live
                    live -= self._ran(node, stack)

    def _ran(self, node: int, stack: list[int]) -> int:
        """Note that a task has run, and stack what should run at once; return how many results
        that freed."""
        dependencies, left, missing, users = self.dependencies, self.left, self.missing, self.users
        freed = 0
        self.order.append(node)
        for one in dependencies[node]:
            left[one] = still = left[one] - 1
            users[one] -= node
            if not still:
                freed += 1
            elif still == 1 and not missing[users[one]]:
                stack.append(users[one])
        if left[node]:
            self.recent.append(node)
            for user in self.dependents[node]:
                missing[user] = lacks = missing[user] - 1
                if not lacks:
                    for one in dependencies[user]:
                        if left[one] == 1:  # it is the last user
                            stack.append(user)
                            break
        return freed

    def _aim(self) -> int | None:
        """Choose a task to go for, now that nothing is begun; None: all have run."""
        recent, left, has_run = self.recent, self.left, self.has_run
        while recent and not left[recent[-1]]:
            recent.pop()
        if recent:
            aims = self.aims.get(recent[-1])
            if aims is None:
                aims = [user for user in self.dependents[recent[-1]] if not has_run[user]]
                aims.reverse()
                aims.sort(key=self.missing.__getitem__, reverse=True)
                self.aims[recent[-1]] = aims
        else:
            aims = self.final
        while aims:
            if not has_run[aim := aims.pop()]:
                return aim
        return None


def _topological(dependencies: Lists, dependents: list[list[int]], missing: list[int]) -> list[int]:
    """Put the tasks in an order, breadth first."""
    lacks = missing.copy()
    order = [node for node, count in enumerate(lacks) if not count]
    for node in order:  # it grows
        for user in dependents[node]:
            lacks[user] -= 1
            if not lacks[user]:
                order.append(user)
    if len(order) < len(lacks):
        raise Cycle(_ring(dependencies, lacks))
    return order


def _ring(dependencies: Lists, lacks: list[int]) -> list[int]:
    """Find tasks that wait for each other: whoever lacks something lacks one that lacks, too."""
    node = next(node for node, count in enumerate(lacks) if count)
    met: dict[int, int] = {}
    while node not in met:
        met[node] = len(met)
        node = next(one for one in dependencies[node] if lacks[one])
    return list(met)[met[node] :]


def _hunger(dependencies: Lists, topological: list[int]) -> list[int]:
    """Say for each task how many results are alive while it is made, on the best way if all is a
    tree; and in the lower bits, which hold any depth, how deep it is."""
    unit = 1 << len(topological).bit_length()
    hunger = [unit] * len(topological)
    for node in topological:
        its = dependencies[node]
        if len(its) == 1:
            hunger[node] = hunger[its[0]] + 1
        elif its:
            most = held = deepest = 0
            for one in sorted([hunger[one] for one in its], reverse=True):
                if one + held > most:
                    most = one + held
                held += unit  # while the next ones are made
                if one & (unit - 1) > deepest:
                    deepest = one & (unit - 1)
            hunger[node] = (most & -unit) + deepest + 1
    return hunger


def _breadth_first_peak(dependencies: Lists, topological: list[int]) -> int:
    """Count the results that are alive at once if the tasks run in a topological order."""
    never = len(topological)
    last_use = [never] * never
    for place, node in enumerate(topological):
        for one in dependencies[node]:
            last_use[one] = place
    ends = [0] * (never + 1)
    for place in last_use:
        ends[place] += 1
    live = peak = 0
    for place in range(never):
        live += 1
        if live > peak:
            peak = live
        live -= ends[place]
    return peak
