"""The scaling machine on a batch system that does what it likes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.unit.scaling.harness import Batch
from treadle.scaling import JobState, Limits, ScaleIn, ScaleOut, Scaler

STRATEGIES = st.sampled_from(["none", "simple", "htex_auto_scale"])
FATES = st.sampled_from(
    [JobState.PENDING, JobState.RUNNING, JobState.FAILED, JobState.COMPLETED, None]
)


@st.composite
def limits(draw):
    most = draw(st.integers(1, 8))
    return Limits(
        init_blocks=draw(st.integers(0, most)),
        min_blocks=draw(st.integers(0, most)),
        max_blocks=most,
        parallelism=draw(st.sampled_from([0.0, 0.3, 1.0])),
        nodes=draw(st.integers(1, 3)),
    )


class ScalingMachine(RuleBasedStateMachine):
    """Looks at any time, blocks that end in any way, tasks that come and go."""

    @initialize(
        strategy=STRATEGIES,
        limits=limits(),
        idle_s=st.sampled_from([0, 20]),
        workers=st.integers(1, 3),
    )
    def begin(self, strategy, limits, idle_s, workers):
        self.strategy = strategy
        self.batch = Batch(Scaler(strategy, max_idle_s=idle_s), limits, workers=workers)

    @rule(tasks=st.one_of(st.just(0), st.integers(1, 50)))
    def tasks_come_and_go(self, tasks):
        self.batch.tasks = tasks

    @rule(fate=FATES)
    def luck_changes(self, fate):
        self.batch.fate = fate

    @rule(step_s=st.sampled_from([0.01, 1.0, 5.0, 60.0, 1000.0]), times=st.integers(1, 3))
    def looks(self, step_s, times):
        b = self.batch
        for _ in range(times):
            before = set(b.alive)
            orders = b.look(step_s)
            assert len(orders) <= 1
            for order in orders:
                self.check(order, before)
            if b.scaler.wake_at is not None:
                assert b.scaler.wake_at > b.now

    def check(self, order, before):
        b = self.batch
        match order:
            case ScaleOut(blocks):
                assert blocks >= 1
                assert len(before) + blocks <= b.limits.max_blocks
            case ScaleIn(blocks, _):
                assert self.strategy != "none"
                assert blocks >= 1
                assert len(before) - blocks >= b.limits.min_blocks
                if b.tasks:
                    assert self.strategy == "htex_auto_scale"
                    assert len(b.alive) >= 1

    @precondition(lambda self: self.batch.alive)
    @rule(data=st.data(), state=st.sampled_from([s for s in JobState if s is not JobState.UNKNOWN]))
    def a_block_changes(self, data, state):
        block = data.draw(st.sampled_from(self.batch.alive))
        self.batch.states[block] = state

    @rule(data=st.data())
    def blocks_are_idle(self, data):
        self.batch.idle = data.draw(st.sets(st.sampled_from([*self.batch.states, "-"])))

    @invariant()
    def never_more_than_the_most(self):
        if hasattr(self, "batch"):
            assert len(self.batch.alive) <= self.batch.limits.max_blocks

    def teardown(self):
        if not hasattr(self, "batch"):
            return
        b = self.batch
        b.fate = JobState.RUNNING
        b.look(step_s=400, times=3)
        for block in b.alive:  # what waited has its turn
            b.states[block] = JobState.RUNNING
        b.look(step_s=400, times=6)
        if self.strategy != "none":
            assert len(b.alive) >= b.limits.min_blocks, "below the least for long"
            if b.tasks:
                assert b.alive, "tasks wait for ever"
            else:
                assert len(b.alive) == b.limits.min_blocks, "idle blocks are kept"
        b.orders.clear()
        b.idle = set(b.states)
        b.look(step_s=400, times=2)
        still = list(b.alive)
        b.orders.clear()
        b.look(times=30)
        assert b.alive == still, "it flaps"
        assert b.orders == []


TestScaling = ScalingMachine.TestCase
TestScaling.settings = settings(stateful_step_count=25)


@given(
    limits=limits(),
    workers=st.integers(1, 4),
    demand=st.lists(st.integers(0, 40), min_size=1, max_size=10),
    strategy=st.sampled_from(["simple", "htex_auto_scale"]),
)
def test_steady_demand_has_its_blocks_within_a_few_looks_and_then_nothing_changes(
    limits, workers, demand, strategy
):
    b = Batch(Scaler(strategy, max_idle_s=0), limits, workers=workers)
    for tasks in demand:
        b.tasks = tasks
        b.look(times=3)
        b.look(step_s=60, times=10)
        per_block = workers * limits.nodes
        needed = min(limits.max_blocks, -(-int(tasks * limits.parallelism) // per_block))
        assert len(b.alive) >= max(needed, limits.min_blocks, int(tasks > 0))
        b.idle = set(b.states)
        b.look(times=2)
        b.orders.clear()
        b.look(times=30)
        assert b.orders == []


@given(
    fates=st.lists(st.sampled_from([JobState.FAILED, JobState.MISSING, None]), min_size=1),
    limits=limits(),
)
def test_on_a_broken_system_submissions_are_few(fates, limits):
    b = Batch(Scaler(), limits)
    b.tasks = 1000
    for number in range(400):
        b.fate = fates[number % len(fates)]
        b.look(step_s=9)
    assert b.submitted <= limits.max_blocks + 20
