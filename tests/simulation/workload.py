"""What clients want of the cluster: random graphs of random programs, and what becomes of them.

A client's plan is a list of things to do at a time. It is made before the run, from a stream of its
own; what depends on outcomes (get the value, release it, try again) the client decides when it is
told, from another one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct, structs

from tests.simulation import programs
from tests.simulation.dice import Dice
from tests.simulation.programs import Program
from tests.simulation.swarm import Swarm
from treadle import wire
from treadle.wire import NUMBER_BITS, Options, TaskId, TaskSpec

if TYPE_CHECKING:
    from tests.simulation.model import Model

#: What a plan may ask of a client, with the fields of `Todo` that it uses.
KINDS = ("submit", "scatter", "cancel", "release", "desire", "fire", "ask", "publish", "unpublish")


class Todo(Struct):
    """One thing to do at a time."""

    at: float
    kind: str
    ids: tuple[TaskId, ...] = ()
    message: Any = None
    name: str = ""
    force: bool = False


class ClientPlan(Struct):
    """One client, and all it is going to do."""

    name: str
    session: int
    todo: list[Todo]


def plan_clients(swarm: Swarm, model: Model) -> list[ClientPlan]:
    """The clients of this world; the model learns their tasks."""
    plans = []
    share = max(1, swarm.tasks // swarm.clients)
    for number in range(swarm.clients):
        maker = _Maker(swarm, model, number)
        left = share
        while left > 0:
            left -= maker.episode(left)
        plans.append(ClientPlan(f"c{number}", maker.session, maker.finish()))
    if "desires" in swarm.features and len(plans) > 1:
        _desires(swarm, plans)
    return plans


def _desires(swarm: Swarm, plans: list[ClientPlan]) -> None:
    """Some results that one client asked for, another one wants as well."""
    dice = Dice(swarm.seed, "workload/desires")
    for plan in plans:
        other = dice.pick([one for one in plans if one is not plan])
        for todo in other.todo:
            if todo.kind == "submit" and dice.chance(0.3):
                tasks = [task for task in todo.message.tasks[:20] if not task.rows]
                ids = tuple(task.id for task in dice.some(tasks, 0.3))
                if ids:
                    at = todo.at + dice.spread(0.05, 10.0)
                    plan.todo.append(Todo(at, "desire", ids))


class _Maker:
    """Makes the plan of one client."""

    def __init__(self, swarm: Swarm, model: Model, number: int) -> None:
        self.swarm = swarm
        self.model = model
        self.client = f"c{number}"
        self.session = 1000 + number
        self.dice = Dice(swarm.seed, f"workload/{self.client}")
        self.features = swarm.features
        self.numbers = 0
        self.asks = 0
        self.todo: list[Todo] = []
        #: Programs are submitted before this time.
        self.end_s = swarm.chaos_s * 0.9
        #: The largest task that the quiet phase can run too.
        self.most_slots = max(node.slots for node in swarm.nodes)

    def finish(self) -> list[Todo]:
        return sorted(self.todo, key=lambda todo: todo.at)

    # --- one piece of work -------------------------------------------------------------------

    def episode(self, most: int) -> int:
        """Plan one graph and what becomes of it; return how many tasks it has."""
        dice = self.dice
        count = min(most, int(dice.spread(1, 120)))
        at = dice.between(0.0, self.end_s)
        if "actors" in self.features and dice.chance(0.2):
            return self._actor(at, min(count, 12))
        data = self._scatter(at) if "scatter" in self.features and dice.chance(0.4) else []
        if data:
            at += 0.5
        tasks, options = self._graph(count, data)
        self._submit(tasks, options, at)
        return count

    def _new_id(self, name: str) -> TaskId:
        self.numbers += 1
        if "text_keys" in self.features and self.session % 2:
            return f"{name}-{self.client}-{self.numbers}"
        return self.session << NUMBER_BITS | self.numbers

    def _graph(self, count: int, data: list[TaskId]) -> tuple[list[TaskSpec], tuple[Options, ...]]:
        dice = self.dice
        table = [self._options() for _ in range(dice.whole(1, 3))]
        shape = dice.pick(("chain", "tree", "map_reduce", "random", "fan", "bag"))
        name = f"{shape}{dice.whole(0, 5)}"
        width = dice.whole(2, 8)
        tasks: list[TaskSpec] = []
        ids: list[TaskId] = list(data)
        for place in range(count):
            index = dice.whole(0, len(table) - 1)
            options = table[index]
            deps = self._dependencies(shape, place, count, width, ids, len(data))
            program = programs.draw(dice, self.features, walltime=options.walltime_s is not None)
            rows: tuple[bytes, ...] = ()
            if "bundles" in self.features and shape == "bag" and not data:
                rows = tuple(bytes([dice.whole(0, 255)]) for _ in range(dice.whole(2, 9)))
                program = structs.replace(program, seconds=min(program.seconds, 0.01))
            id = self._new_id(name)
            if rows and type(id) is str:
                rows = ()
            self.numbers += max(0, len(rows) - 1)
            spec = TaskSpec(id, name, programs.encode(program), deps, index, rows=rows)
            self.model.define(spec, program, options, self.client)
            tasks.append(spec)
            ids.append(id)
            if "nests" in self.features and not rows and dice.chance(0.2):
                self._nest(id, 1)
        return tasks, tuple(table)

    def _nest(self, parent: TaskId, depth: int) -> None:
        """Tasks that a task submits itself, and waits for."""
        dice = self.dice
        specs = []
        for _ in range(dice.whole(1, 3)):
            id = self._new_id("nested")
            program = Program(dice.whole(0, 1 << 30), dice.spread(1e-3, 2.0), 100)
            spec = TaskSpec(id, "nested", programs.encode(program))
            self.model.define(spec, program, Options(), self.client)
            specs.append(spec)
            if depth < 4 and dice.chance(0.3):
                self._nest(id, depth + 1)
        self.model.nests[parent] = (self.client, tuple(specs))

    def _dependencies(
        self, shape: str, place: int, count: int, width: int, ids: list[TaskId], data: int
    ) -> tuple[TaskId, ...]:
        dice = self.dice
        own = ids[data:]
        deps: list[TaskId] = dice.some(ids[:data], 0.5)
        if shape == "chain" and place:
            deps.append(own[-1])
        elif shape == "tree" and place:
            deps.append(own[(place - 1) // 2])
        elif shape == "map_reduce" and place == count - 1:
            deps += own[-50:]
        elif shape == "random":
            deps += dice.some(own[-12:], 0.25)
        elif shape == "fan" and place:
            deps.append(own[0] if place % width else own[max(0, place - width)])
        return tuple(dict.fromkeys(deps))

    def _options(self) -> Options:
        dice, features = self.dice, self.features
        resources: tuple[tuple[str, float], ...] = ()
        if "resources" in features and dice.chance(0.4):
            resources = dice.pick(((("gpu", 1.0),), (("memory", 2.0),), (("memory", 1.5),)))
        hosts: tuple[str, ...] = ()
        workers: tuple[str, ...] = ()
        if "restrictions" in features and dice.chance(0.4):
            node = dice.pick(self.swarm.nodes)
            if dice.chance(0.5):
                hosts = (node.host,)
            else:
                workers = tuple(sorted({node.id, dice.pick(self.swarm.nodes).id}))
            resources = ()  # together they might fit nowhere, for ever
        loose = bool((hosts or workers or resources) and dice.chance(0.3))
        slots = 0 if "beside" in features and dice.chance(0.1) else 1
        if "wide" in features and dice.chance(0.2) and not (hosts or workers):
            slots = dice.whole(1, 4)
        return Options(
            priority=float(dice.whole(-2, 2)) if "priorities" in features else 0.0,
            retries=dice.pick((0, 1, 2, 5)) if "raises" in features else 0,
            slots=slots,
            resources=resources,
            hosts=hosts,
            workers=workers,
            loose=loose,
            walltime_s=dice.between(12.0, 20.0) if "hangs" in features else None,
        )

    # --- submitting, and what becomes of it --------------------------------------------------

    def _submit(self, tasks: list[TaskSpec], table: tuple[Options, ...], at: float) -> None:
        dice = self.dice
        ways = [way for way in ("graphs", "singles") if way in self.features] or ["graphs"]
        ids = tuple(task.id for task in tasks)
        if dice.pick(ways) == "graphs":
            needed = {dep for task in tasks for dep in task.dependencies}
            sinks = tuple(id for id in ids if id not in needed)
            wants = dice.pick((None, sinks, sinks + tuple(dice.some(ids, 0.1))))
            wants = None if wants is None else tuple(dict.fromkeys(wants))
            graph = dice.chance(0.7)
            message = wire.Submit(tuple(tasks), table, wants, graph)
            self.todo.append(Todo(at, "submit", message=message))
            last, wanted = at, ids if wants is None else wants
        else:
            span = dice.spread(0.001, 10.0) / len(tasks)
            for task in tasks:
                at += span * dice.between(0.0, 2.0)
                self.todo.append(Todo(at, "submit", message=wire.Submit((task,), table)))
            last, wanted = at, ids
        single = {task.id for task in tasks if not task.rows}
        self._afterwards(wanted, ids, [id for id in ids if id in single], last)

    def _afterwards(
        self,
        wanted: tuple[TaskId, ...],
        ids: tuple[TaskId, ...],
        single: list[TaskId],
        last: float,
    ) -> None:
        dice, features, todo = self.dice, self.features, self.todo
        if "cancels" in features and dice.chance(0.5):
            chosen = tuple(dice.some(ids, 0.15))
            if chosen:
                at = last + dice.spread(0.001, 20.0)
                todo.append(Todo(at, "cancel", chosen, force=dice.chance(0.3)))
        if "early_release" in features:
            for id in dice.some(wanted, 0.2):
                todo.append(Todo(last + dice.spread(0.001, 20.0), "release", (id,)))
        if "fire" in features and dice.chance(0.3):
            chosen = tuple(id for id in dice.some(wanted, 0.3) if id in single)
            if chosen:
                todo.append(Todo(last + 0.001, "fire", chosen))
                todo.append(Todo(last + dice.spread(0.01, 5.0), "release", chosen))
        if single:
            self._questions(tuple(single), last)
            self._about_data(tuple(single), last)

    def _ask(self, at: float, make: Any, *args: Any, **options: Any) -> None:
        self.asks += 1
        message = make(self.asks, *args, **options)
        self.todo.append(Todo(at, "ask", message=message))

    def _questions(self, ids: tuple[TaskId, ...], last: float) -> None:
        dice = self.dice
        for _ in range(3 if "questions" in self.features else 0):
            at, id = last + dice.spread(0.01, 20.0), dice.pick(ids)
            kind = dice.whole(0, 4)
            if kind == 0:
                self._ask(at, wire.WhoHas, (id,))
            elif kind == 1:
                self._ask(at, wire.HasWhat)
            elif kind == 2:
                self._ask(at, wire.Explain, id)
            elif kind == 3:
                self._ask(at, wire.Story, id)
            else:
                self._ask(at, wire.ListPublished)

    def _about_data(self, ids: tuple[TaskId, ...], last: float) -> None:
        dice, features = self.dice, self.features
        if "replicate" in features and dice.chance(0.4):
            chosen = tuple(dice.some(ids, 0.2))
            self._ask(last + dice.spread(0.1, 20.0), wire.Replicate, chosen, dice.whole(1, 3))
        if "rebalance" in features and dice.chance(0.3):
            self._ask(last + dice.spread(0.1, 20.0), wire.Rebalance)
        if "restarts" in features and dice.chance(0.05):
            self._ask(last + dice.spread(0.1, 20.0), wire.Restart, dice.between(1.0, 30.0))
        if "retire" in features and dice.chance(0.15) and len(self.swarm.nodes) > 1:
            worker = dice.pick(self.swarm.nodes).id
            self._ask(last + dice.spread(0.1, 20.0), wire.Retire, (worker,), dice.chance(0.3))
        if "publish" in features and dice.chance(0.4):
            name = f"data-{self.client}-{len(self.todo)}"
            at = last + dice.spread(0.01, 5.0)
            chosen = tuple(dice.some(ids, 0.2)) or ids[:1]
            self._ask(at, wire.Publish, name, chosen, override=dice.chance(0.5))
            self._ask(at + dice.spread(0.01, 5.0), wire.GetPublished, name)
            self._ask(at + dice.spread(0.01, 30.0), wire.Unpublish, name)

    # --- data and actors ---------------------------------------------------------------------

    def _scatter(self, at: float) -> list[TaskId]:
        dice = self.dice
        items = []
        for _ in range(dice.whole(1, 4)):
            id = self._new_id("data")
            nbytes = int(dice.spread(8, 1 << 20))
            items.append(wire.DataSpec(id, "data", nbytes, "int"))
            self.model.define_data(id, dice.whole(0, 1 << 30), nbytes, self.client)
        workers = (dice.pick(self.swarm.nodes).id,) if dice.chance(0.2) else ()
        self.asks += 1
        message = wire.Scatter(self.asks, tuple(items), workers, dice.whole(1, 2))
        ids = tuple(item.id for item in items)
        self.todo.append(Todo(at, "scatter", ids, message))
        return list(ids)

    def _actor(self, at: float, calls: int) -> int:
        """An actor, and calls of it, in order."""
        dice = self.dice
        name = f"actor{dice.whole(0, 3)}"
        home = self._new_id(name)
        program = Program(dice.whole(0, 1 << 30), dice.spread(0.01, 1.0), 100)
        spec = TaskSpec(home, name, programs.encode(program), actor=True)
        options = Options()
        self.model.define(spec, program, options, self.client)
        self.todo.append(Todo(at, "submit", message=wire.Submit((spec,), (options,))))
        for number in range(1, calls):
            at += dice.spread(0.001, 1.0)
            program = Program(dice.whole(0, 1 << 30), dice.spread(0.001, 0.5), 50, call=number)
            id = self._new_id("call")
            call = TaskSpec(id, "call", programs.encode(program), (home,), home=home)
            self.model.define(call, program, options, self.client)
            self.todo.append(Todo(at, "submit", message=wire.Submit((call,), (options,))))
        return calls
