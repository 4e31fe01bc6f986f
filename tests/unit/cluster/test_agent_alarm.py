"""The timer that is set anew only when it must ring earlier."""

from __future__ import annotations

from treadle.cluster._agent_alarm import NEVER, Alarm


class Handle:
    def __init__(self, delay, fn):
        self.delay, self.fn, self.cancelled = delay, fn, False

    def cancel(self):
        self.cancelled = True


class Loop:
    def __init__(self):
        self.handles = []

    def call_later(self, delay, fn):
        self.handles.append(Handle(delay, fn))
        return self.handles[-1]


def make(now=100.0):
    loop, rings = Loop(), []
    return loop, rings, Alarm(loop, lambda: rings.append(1), lambda: now)


def test_it_is_set_in_whole_milliseconds_and_never_too_early():
    loop, _, alarm = make()
    alarm.want(100.0101)
    assert loop.handles[0].delay == 0.011
    assert alarm.at == 100.0101


def test_what_is_later_than_what_is_set_changes_nothing():
    loop, _, alarm = make()
    alarm.want(101.0)
    alarm.want(102.0)
    assert len(loop.handles) == 1


def test_what_is_earlier_replaces_it():
    loop, rings, alarm = make()
    alarm.want(102.0)
    alarm.want(101.0)
    assert [handle.cancelled for handle in loop.handles] == [True, False]
    loop.handles[1].fn()
    assert rings == [1]
    assert alarm.at == NEVER


def test_what_is_past_rings_at_once():
    loop, _, alarm = make()
    alarm.want(50.0)
    assert loop.handles[0].delay == 0


def test_it_can_be_set_after_it_was_cancelled():
    loop, _, alarm = make()
    alarm.want(101.0)
    alarm.cancel()
    assert loop.handles[0].cancelled
    alarm.want(105.0)
    assert not loop.handles[1].cancelled
