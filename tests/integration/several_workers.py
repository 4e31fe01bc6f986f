"""A scheduler and workers as programs of their own, and clients of them: what can be killed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from treadle.client import Client


class Workers:
    """Programs that are ended with the test, and what they have written if it fails."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "run.json"
        self.programs: dict[str, subprocess.Popen[bytes]] = {}
        self._clients: list[Client] = []
        self._start("scheduler", "--connection-file", str(self.file))
        wait_for(self.file.exists)

    def worker(self, id: str, *, slots: int = 1, **resources: float) -> None:
        """Start a worker of this name."""
        amounts = [f"--resource={name}={amount}" for name, amount in resources.items()]
        self._start(id, "--connection-file", str(self.file), f"--slots={slots}", *amounts)

    def client(self, **options: Any) -> Client:
        """A client of theirs."""
        client = Client(self.file, **options)
        self._clients.append(client)
        return client

    def kill(self, id: str) -> None:
        """End a worker as machines end: at once, with all its slots."""
        self.programs[id].kill()
        self.programs[id].wait()

    def end(self) -> None:
        """Leave nothing behind."""
        for client in self._clients:
            client.close()
        all = [p for program in self.programs.values() for p in _family(program.pid)]
        for program in self.programs.values():
            program.kill()
            program.wait()
        _, alive = psutil.wait_procs(all, timeout=10)
        for log in sorted(self.folder.glob("*.log")):
            print(log.name, log.read_text(), sep="\n")
        assert alive == []

    def _start(self, id: str, *arguments: str) -> None:
        command = "scheduler" if id == "scheduler" else "worker"
        own = () if command == "scheduler" else (f"--id={id}", "--orphan=5")
        with open(self.folder / f"{id}.log", "ab") as output:
            self.programs[id] = subprocess.Popen(
                [sys.executable, "-m", "treadle", command, *own, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )


def wait_for(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    """Wait until this is true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def _family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
