"""What simulated tasks do: a program stands encoded in the task's `run_spec`.

A value is a number that depends on the program and on the inputs' values, so a task that ran with
a wrong or a stale input is found out by its value.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from tests.simulation.dice import Dice

PRIME = (1 << 61) - 1
#: A count that no task survives.
ALWAYS = 1_000_000


class Program(Struct, frozen=True, array_like=True):
    """A task's behaviour.

    `raises`, `kills_slot`, `kills_worker`: in how many of its first executions. `final`: what it
    raises would be raised again. `hangs`: it never ends by itself. `wobbles`: its value is another
    one in each attempt. `call`: it is an actor's, the how-manieth. `moves`: how often it asks to be
    run elsewhere.
    """

    salt: int
    seconds: float = 0.01
    nbytes: int = 100
    raises: int = 0
    kills_slot: int = 0
    kills_worker: int = 0
    final: bool = False
    hangs: bool = False
    wobbles: bool = False
    call: int = 0
    moves: int = 0

    @property
    def deaths(self) -> int:
        return self.kills_slot + self.kills_worker


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Program)


def encode(program: Program) -> bytes:
    return _encoder.encode(program)


def decode(run_spec: bytes) -> Program:
    return _decoder.decode(run_spec)


def value_of(program: Program, inputs: Sequence[int], attempt: int = 0) -> int:
    """The result; `attempt` matters to a program that wobbles only."""
    value = program.salt * 1_000_003 + 17
    for place, given in enumerate(inputs):
        value = (value * 31 + given * (place + 7)) % PRIME
    if program.wobbles:
        value += attempt
    return value % PRIME


def row_value(program: Program, row: bytes, inputs: Sequence[int], attempt: int = 0) -> int:
    """The result of one row of a bundle."""
    return (value_of(program, inputs, attempt) + int.from_bytes(row, "big") * 101) % PRIME


def inline_of(values: Sequence[int]) -> bytes:
    return _encoder.encode(list(values))


def draw(dice: Dice, features: tuple[str, ...], *, walltime: bool) -> Program:
    """A random program. `walltime`: somebody ends it if it hangs."""
    seconds = dice.spread(1e-4, 8.0)
    nbytes = int(dice.spread(8, 2 << 20 if "giants" in features else 1 << 18))
    options: dict[str, int | bool] = {}
    if "raises" in features and dice.chance(0.1):
        options["raises"] = dice.pick((1, 1, 2, 3, ALWAYS))
        options["final"] = dice.chance(0.1)
    if "killers" in features and dice.chance(0.04):
        options[dice.pick(("kills_slot", "kills_worker"))] = dice.whole(1, 2)
    elif "poison" in features and dice.chance(0.02):
        options[dice.pick(("kills_slot", "kills_slot", "kills_worker"))] = ALWAYS
    elif "hangs" in features and walltime and dice.chance(0.5):
        options["hangs"] = True
    if "wobbles" in features and dice.chance(0.05):
        options["wobbles"] = True
    if "moves" in features and dice.chance(0.05):
        options["moves"] = dice.whole(1, 3)
    if "giants" in features and dice.chance(0.04):
        nbytes = dice.pick((8 << 20, 32 << 20, 300 << 20))
    return Program(dice.whole(0, 1 << 30), seconds, nbytes, **options)
