"""The line of an actor: its calls that have not been sent to it, in the order of admission.

A call that has left the line without being sent may stand in it still: who sends calls skips what
does not wait any longer.
"""

from __future__ import annotations

from treadle.scheduler._task import TaskState


def enrol(call: TaskState) -> None:
    """A call stands in its actor's line; one that came back stands where it stood."""
    home = call.home
    assert home is not None
    rare = home.rarely()
    calls = rare.calls
    if calls is None:
        calls = rare.calls = {}
    if call in calls:
        return
    calls[call] = None
    if call.attempt:  # it has been sent before: so it comes before all that has not
        rare.calls = dict.fromkeys(sorted(calls, key=_turn))


def _turn(call: TaskState) -> tuple[bool, int]:
    return (not call.attempt, call.attempt)


def strike(call: TaskState) -> None:
    """A call waits no longer, and will not be sent."""
    home = call.home
    if home is not None and home.rare is not None and home.rare.calls is not None:
        home.rare.calls.pop(call, None)
