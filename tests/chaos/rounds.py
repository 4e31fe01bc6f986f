"""One round: a program runs, one of its processes is killed, and what follows is judged."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.chaos.family import MARK, Family, describe

ROOT = Path(__file__).parents[2]
#: Who is killed, for a program with everything on one machine, and for one with blocks.
VICTIMS = {
    "node": ("slot", "slot", "zygote", "node", "user"),
    "blocks": ("slot", "zygote", "worker", "node", "user"),
}
#: The program's whole time, and how long what it left behind may live.
PROGRAM_S, GONE_S = 60.0, 10.0


@dataclass(frozen=True)
class Round:
    """What happened."""

    seed: int
    kind: str
    victim: str
    killed: bool
    seconds: float
    complaint: str = ""


def play(seed: int, directory: Path) -> Round:
    """Play the round of this seed."""
    dice = random.Random(seed)
    kind = dice.choice(("node", "node", "blocks"))
    victim = dice.choice(VICTIMS[kind])
    delay_s = dice.random() ** 2 * 0.8
    mark = uuid.uuid4().hex
    family = Family(mark)
    # Short: the path of a socket in it has a limit.
    runtime = Path(tempfile.mkdtemp(prefix="treadle-kill-"))
    environment = {
        **os.environ,
        MARK: mark,
        "XDG_RUNTIME_DIR": str(runtime),
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(ROOT / "src"))),
    }
    command = [sys.executable, "-m", "tests.chaos.program", str(seed), str(directory), kind]
    began = time.monotonic()
    with open(directory / "err", "wb") as err:
        user = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=err, env=environment, cwd=directory
        )
        try:
            killed, complaint = _strike(user, family, victim, delay_s, dice)
        finally:
            left = family.wait_until_gone(GONE_S) if user.poll() is not None else []
            if left and not complaint:
                complaint = f"left behind after {GONE_S:g} s:\n{describe(left)}"
            family.end()
            shutil.rmtree(runtime, ignore_errors=True)
            user.kill()
            user.wait()
            if user.stdout is not None:
                user.stdout.close()
    if complaint:
        complaint += "\n" + (directory / "err").read_text(errors="replace")[-3000:]
    return Round(seed, kind, victim, killed, time.monotonic() - began, complaint)


def _strike(
    user: subprocess.Popen[bytes], family: Family, victim: str, delay_s: float, dice: random.Random
) -> tuple[bool, str]:
    """Wait until the program is at work, kill, and wait for its end: what there is to complain of."""
    assert user.stdout is not None
    if user.stdout.readline() != b"ready\n":
        user.wait(PROGRAM_S)
        return False, f"the program did not begin (exit code {user.returncode})"
    time.sleep(delay_s)
    pids = [user.pid] if victim == "user" else family.roles().get(victim, [])
    killed = False
    if pids:
        try:
            os.kill(dice.choice(sorted(pids)), signal.SIGKILL)
            killed = True
        except ProcessLookupError:
            pass
    try:
        code = user.wait(PROGRAM_S)
    except subprocess.TimeoutExpired:
        return killed, f"the program hangs after the death of its {victim}"
    if victim == "user" and killed:
        return killed, "" if code in (0, -signal.SIGKILL) else f"exit code {code}"
    return killed, "" if code == 0 else f"exit code {code} after the death of its {victim}"
