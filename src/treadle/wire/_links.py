"""Who may say what to whom.

The role of a peer is what its handshake proved; a message that stands on another link is refused
while it is decoded.
"""

from __future__ import annotations

from enum import StrEnum

from treadle.wire import _client as c
from treadle.wire import _control as k
from treadle.wire import _coordination as o
from treadle.wire import _shells as s
from treadle.wire import _worker as w

#: What a client may say to the scheduler.
FromClient = (
    c.Attach
    | c.Submit
    | c.Desire
    | c.Release
    | c.Cancel
    | c.CancelRows
    | c.ReleaseRows
    | c.Retry
    | c.FireAndForget
    | c.Scatter
    | c.Replicate
    | c.Rebalance
    | c.Publish
    | c.Unpublish
    | c.GetPublished
    | c.ListPublished
    | c.WhoHas
    | c.HasWhat
    | c.Explain
    | c.Story
    | c.Retire
    | c.ClientBeat
    | c.Leave
    | s.Code
    | s.World
    | s.Locate
    | s.Issue
    | s.Revoke
    | s.Roll
    | o.Linger
    | o.Heard
    | o.Acquire
    | o.GiveBack
    | o.Holders
    | o.Withdraw
    | o.SetEvent
    | o.AwaitEvent
    | o.Put
    | o.Take
    | o.QueueSize
    | o.Assign
    | o.Look
    | o.Announce
    | o.Recall
    | o.Subscribe
    | o.Unsubscribe
    | o.SetMetadata
    | o.GetMetadata
    | k.Processing
    | k.Muster
    | k.Restart
    | k.Inquire
)
#: What the scheduler may say to a client.
ToClient = (
    c.Attached
    | c.Done
    | c.Erred
    | c.Cancelled
    | c.Lost
    | c.Retried
    | c.Upload
    | c.Reply
    | c.Refused
    | c.Beaten
    | s.Located
    | s.Printed
    | s.Issued
    | o.Announced
)
#: What a worker may say to the scheduler.
FromWorker = (
    w.Register
    | w.Started
    | w.Finished
    | w.Failed
    | w.Died
    | w.Returned
    | w.Holding
    | w.Dropped
    | w.NotFetched
    | w.Status
    | w.Leaving
    | w.Beat
    | s.Locate
    | s.Printed
    | k.Aside
    | k.Back
    | k.Answer
)
#: What the scheduler may say to a worker.
ToWorker = (
    w.Registered
    | w.Run
    | w.Stop
    | w.Free
    | w.Fetch
    | w.Drain
    | w.Depart
    | w.Reset
    | c.Beaten
    | s.Code
    | s.World
    | s.Located
    | k.Inquiry
)
#: What two workers may say to each other.
BetweenWorkers = w.GetData | w.Data | w.Busy
#: What a client may say to a worker.
ToHolder = w.GetData | w.Give | w.Taken
#: What a worker may say to a client.
FromHolder = w.Data | w.Spots | w.Busy | w.Given


class Role(StrEnum):
    """What a process is to the others."""

    client = "client"
    worker = "worker"
    scheduler = "scheduler"


#: (who speaks, who listens) -> the messages there are. No other two have a link.
SPOKEN: dict[tuple[Role, Role], object] = {
    (Role.client, Role.scheduler): FromClient,
    (Role.scheduler, Role.client): ToClient,
    (Role.worker, Role.scheduler): FromWorker,
    (Role.scheduler, Role.worker): ToWorker,
    (Role.worker, Role.worker): BetweenWorkers,
    (Role.client, Role.worker): ToHolder,
    (Role.worker, Role.client): FromHolder,
}
