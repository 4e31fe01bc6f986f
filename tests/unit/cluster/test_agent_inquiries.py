"""What a worker's shell answers of itself."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest

from treadle import wire
from treadle.cluster import _agent_inquiries, _slot_stack
from treadle.cluster._agent_inquiries import Inquiries


class Run:
    def __init__(self, id, attempt):
        self.id = id
        self.attempt = attempt


class SlotEnd:
    """A slot that runs what a test says."""

    def __init__(self, pid, id, attempt):
        self.pid = pid
        self.doomed = False
        self.now = (Run(id, attempt), id, 0)

    def runs(self):
        return self.now


def answers(slots, *inquiries):
    """What is said to these inquiries, in order."""

    async def main():
        said = []

        async def printed():
            said.append("printed")

        with ThreadPoolExecutor(1) as threads:
            loop = asyncio.get_running_loop()
            desk = Inquiries(dict(enumerate(slots)), loop, threads, said.extend, printed)
            for inquiry in inquiries:
                desk.hear(inquiry)
            async with asyncio.timeout(5):
                while len(said) < len(inquiries):
                    await asyncio.sleep(0.001)
            await desk.close()
        return said

    return asyncio.run(main())


@pytest.fixture
def stacks(monkeypatch):
    """What the slots' processes would say."""
    told = {}
    monkeypatch.setattr(_slot_stack, "stacks_of", lambda pids: {pid: told[pid] for pid in pids})
    return told


def test_what_runs_tells_where(stacks):
    stacks.update({11: ["x.py:1 in f"], 12: "it does not answer"})
    slots = [SlotEnd(11, 1, 101), SlotEnd(12, "key", 102), SlotEnd(0, 3, 103)]
    (answer,) = answers(slots, wire.Inquiry(7, "call_stack"))
    assert answer.ask == 7
    assert answer.value == [[1, ["x.py:1 in f"]], ["key", ["(it does not answer)"]]]
    (answer,) = answers(slots, wire.Inquiry(7, "call_stack", ("key",)))
    assert [id for id, _ in answer.value] == ["key"]


def test_what_has_ended_meanwhile_is_left_out(monkeypatch):
    slot = SlotEnd(11, 1, 101)

    def ended(pids):
        slot.now = (Run(2, 102), 2, 0)
        return {11: ["y.py:9 in another"]}

    monkeypatch.setattr(_slot_stack, "stacks_of", ended)
    (answer,) = answers([slot], wire.Inquiry(1, "call_stack"))
    assert (answer.value, answer.error) == ([], "")


def test_what_cannot_be_found_out_is_an_error_and_harms_nothing_else(monkeypatch, stacks):
    monkeypatch.setattr(_slot_stack, "HAS_STACKS", False)
    first, second, third = answers(
        [],
        wire.Inquiry(1, "call_stack"),
        wire.Inquiry(2, "gossip"),
        wire.Inquiry(3, "versions", ("pytest",)),
    )
    assert "cannot tell" in first.error
    assert "'gossip'" in second.error
    assert third.value["packages"]["pytest"] == pytest.__version__


def test_it_is_not_asked_too_much_at_once(monkeypatch):
    monkeypatch.setattr(_agent_inquiries, "_MOST", 2)
    said = answers([], *(wire.Inquiry(n, "logs") for n in range(4)))
    assert {answer.ask for answer in said if answer.error} == {2, 3}
