"""Tasks straight to a scheduler, without a kernel: the interface that users of Dask know.

    with Client(slots=4) as client:
        futures = client.map(simulate, range(1000))
        print(client.gather(client.submit(summarise, futures)))

Results stay on workers until somebody asks for them, for as long as a future of theirs lives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from treadle.client import _current
from treadle.client._control import ControlCalls
from treadle.client._data import DataCalls
from treadle.client._executor import ClientExecutor
from treadle.client._gets import GraphCalls
from treadle.client._topics import TopicCalls

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Self


class Client(GraphCalls, DataCalls, ControlCalls, TopicCalls):
    """A client of a scheduler.

    Its calls are in `TaskCalls`, `GraphCalls`, `DataCalls`, `ControlCalls` and `TopicCalls`.

    Args:
        address: where the scheduler is: its connection file, its directory, 'unix:PATH',
            'tls://HOST:PORT', or a `ClusterExecutor` that runs; None: a cluster of this program's
            own is started, and ends with it.
        name: what the client is called, in logs.
        credential: the path of what proves who this is, to reach another machine; None: what the
            connection file names.
        timeout: seconds that a scheduler somewhere else may take to answer at first.
        asynchronous: for programs with an event loop: calls that wait give awaitables. Await the
            client itself, or use `async with`, to know that the scheduler is there.
        set_as_default: it is the one that is meant where none is named.
        options: of the cluster that is started; see `ClusterExecutor`.

    Raises:
        ConfigurationError: there is no such scheduler, or no such option.
        SchedulerLost: it does not want this client.
        TimeoutError: it does not answer.
    """

    @staticmethod
    def current() -> Client:
        """The client that is meant here.

        Raises:
            NoClientError: there is none.
        """
        return _current.current_client()

    def get_executor(self, **options: Any) -> ClientExecutor:
        """This client for code that knows `concurrent.futures` alone.

        Args:
            options: of `submit`, for all calls; they are not `pure` unless that is said.

        Raises:
            ValueError: there is no such option.
        """
        return ClientExecutor(self, options)

    def as_current(self) -> AbstractContextManager[Self]:
        """Within, this client is meant where none is named."""
        return _current.named(self)
