"""A batch system in virtual time, and a scaling machine that is told the truth about it."""

from __future__ import annotations

from dataclasses import dataclass, field

from treadle.scaling import (
    TERMINAL_STATES,
    Closing,
    JobState,
    Limits,
    Looked,
    ScaleIn,
    ScaleOut,
    Scaler,
    Started,
)

PERIOD_S = 5.0


@dataclass
class Batch:
    """Blocks that do what they are told: wait, run, die."""

    scaler: Scaler
    limits: Limits = field(default_factory=Limits)
    now: float = 0.0
    tasks: float = 0
    workers: float = 1
    states: dict[str, JobState] = field(default_factory=dict)
    #: What becomes of a block that is started; None: the submission is refused.
    fate: JobState | None = JobState.RUNNING
    idle: set[str] = field(default_factory=set)
    orders: list[tuple[float, object]] = field(default_factory=list)
    submitted: int = 0
    most: int = 0

    @property
    def alive(self) -> list[str]:
        return [b for b, state in self.states.items() if state not in TERMINAL_STATES]

    def look(self, step_s: float = PERIOD_S, times: int = 1) -> list[object]:
        """Let time pass, and look; returns the orders."""
        orders: list[object] = []
        for _ in range(times):
            self.now += step_s
            look = Looked(dict(self.states), self.tasks, self.workers, self.limits)
            for order in self.scaler.handle(look, now=self.now):
                orders.append(order)
                self.orders.append((self.now, order))
                self.carry_out(order)
            self.most = max(self.most, len(self.alive))
        return orders

    def carry_out(self, order: object) -> None:
        match order:
            case ScaleOut(blocks):
                self.start(blocks)
            case ScaleIn(blocks, max_idle_s):
                able = (
                    self.alive if max_idle_s is None else [b for b in self.alive if b in self.idle]
                )
                for block in able[:blocks]:
                    self.states[block] = JobState.SCALED_IN

    def start(self, blocks: int) -> None:
        started = []
        for _ in range(blocks):
            block = str(self.submitted)
            self.submitted += 1
            if self.fate is None:
                self.states[block] = JobState.FAILED
                break
            self.states[block] = self.fate
            started.append(block)
        self.scaler.handle(Started(blocks, tuple(started)), now=self.now)

    def kill(self, *blocks: str) -> None:
        for block in blocks:
            self.states[block] = JobState.FAILED

    def close(self) -> None:
        self.scaler.handle(Closing(), now=self.now)


def batch(strategy: str = "simple", *, max_idle_s: float = 120.0, **limits: float) -> Batch:
    """A batch system with a machine of this strategy."""
    return Batch(Scaler(strategy, max_idle_s=max_idle_s), Limits(**limits))
