"""What travels between processes: typed, bounded messages. Pure.

A frame is a list of messages of one link, in order. What a message means, and who may send it, is
told at its class; `TO_SCHEDULER` and its like say which stand on which link.
"""

from __future__ import annotations

from treadle.wire._client import (
    Attach,
    Attached,
    AttemptRow,
    Beaten,
    Cancel,
    Cancelled,
    ClientBeat,
    DataSpec,
    Desire,
    Done,
    Erred,
    Explain,
    FireAndForget,
    GetPublished,
    HasWhat,
    Leave,
    ListPublished,
    Lost,
    Options,
    Publish,
    Rebalance,
    Refused,
    Release,
    Replicate,
    Reply,
    Retire,
    Retried,
    Retry,
    Scatter,
    Story,
    Submit,
    TaskSpec,
    Unpublish,
    Upload,
    WhoHas,
)
from treadle.wire._terms import (
    FAILURES,
    MAX_ITEMS,
    NUMBER_BITS,
    Attempt,
    Failure,
    Held,
    Input,
    Message,
    TaskId,
    WorkerId,
    session_of,
    task_id,
)
from treadle.wire._worker import (
    Beat,
    Busy,
    Data,
    Depart,
    Died,
    Drain,
    Dropped,
    Failed,
    Fetch,
    Finished,
    Free,
    GetData,
    Holding,
    Leaving,
    NotFetched,
    Outcome,
    Register,
    Registered,
    Reset,
    Returned,
    Run,
    Started,
    Status,
    Stop,
)

#: What a client may say to the scheduler.
FromClient = (
    Attach
    | Submit
    | Desire
    | Release
    | Cancel
    | Retry
    | FireAndForget
    | Scatter
    | Replicate
    | Rebalance
    | Publish
    | Unpublish
    | GetPublished
    | ListPublished
    | WhoHas
    | HasWhat
    | Explain
    | Story
    | Retire
    | ClientBeat
    | Leave
)
#: What the scheduler may say to a client.
ToClient = (
    Attached
    | Done
    | Erred
    | Cancelled
    | Lost
    | Retried
    | Upload
    | Reply
    | Refused
    | Beaten
)
#: What a worker may say to the scheduler.
FromWorker = (
    Register
    | Started
    | Finished
    | Failed
    | Died
    | Returned
    | Holding
    | Dropped
    | NotFetched
    | Status
    | Leaving
    | Beat
)
#: What the scheduler may say to a worker.
ToWorker = Registered | Run | Stop | Free | Fetch | Drain | Depart | Reset | Beaten
#: What two workers may say to each other.
BetweenWorkers = GetData | Data | Busy

__all__ = [
    "Attach",
    "Attached",
    "Attempt",
    "AttemptRow",
    "Beat",
    "Beaten",
    "BetweenWorkers",
    "Busy",
    "Cancel",
    "Cancelled",
    "ClientBeat",
    "Data",
    "DataSpec",
    "Depart",
    "Desire",
    "Died",
    "Done",
    "Drain",
    "Dropped",
    "Erred",
    "Explain",
    "FAILURES",
    "Failed",
    "Failure",
    "Fetch",
    "Finished",
    "FireAndForget",
    "Free",
    "FromClient",
    "FromWorker",
    "GetData",
    "GetPublished",
    "HasWhat",
    "Held",
    "Holding",
    "Input",
    "Leave",
    "Leaving",
    "ListPublished",
    "Lost",
    "MAX_ITEMS",
    "Message",
    "NUMBER_BITS",
    "NotFetched",
    "Options",
    "Outcome",
    "Publish",
    "Rebalance",
    "Refused",
    "Register",
    "Registered",
    "Release",
    "Replicate",
    "Reply",
    "Reset",
    "Retire",
    "Retried",
    "Retry",
    "Returned",
    "Run",
    "Scatter",
    "Started",
    "Status",
    "Stop",
    "Story",
    "Submit",
    "TaskId",
    "TaskSpec",
    "ToClient",
    "ToWorker",
    "Unpublish",
    "Upload",
    "WhoHas",
    "WorkerId",
    "session_of",
    "task_id",
]
