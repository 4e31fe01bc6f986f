"""A client of a program with an event loop."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import CancelledError

import pytest

from tests.integration.client_cases import add, fail, fail_unless, inc, wait_for_file
from treadle.client import Client, as_completed, wait
from treadle.errors import ConfigurationError, SchedulerLost

pytestmark = pytest.mark.timeout(60)


def run(main):
    """Run it with a client; the event loop is never kept for long."""

    async def watched():
        async with Client(slots=2, asynchronous=True) as client:
            worst = 0.0
            stop = asyncio.Event()

            async def look():
                nonlocal worst
                while not stop.is_set():
                    began = time.perf_counter()
                    await asyncio.sleep(0.01)
                    worst = max(worst, time.perf_counter() - began - 0.01)

            looking = asyncio.create_task(look())
            try:
                await asyncio.wait_for(main(client), 50)
            finally:
                stop.set()
                await looking
            return worst

    return asyncio.run(watched())


def test_calls_that_wait_give_awaitables():
    async def main(client):
        future = client.submit(inc, 1)
        assert await future == 2
        rows = client.map(inc, range(100))
        assert await client.gather(rows) == list(range(1, 101))
        assert await client.gather({"a": [future]}) == {"a": [2]}
        assert await client.get({"x": 1, "y": (inc, "x")}, ["y", "x"]) == [2, 1]
        assert await client.submit(sum, rows) == 5050
        assert list(await client.who_has([future])) == [future.key]

    run(main)


def test_gather_of_an_iterator_is_an_asynchronous_one():
    async def main(client):
        rows = client.map(inc, range(5))
        assert [value async for value in client.gather(iter(rows))] == [1, 2, 3, 4, 5]

    run(main)


def test_errors_are_raised_where_one_waits():
    async def main(client):
        bad = client.submit(fail, "no")
        with pytest.raises(ValueError, match="no"):
            await bad
        with pytest.raises(ValueError, match="no"):
            await client.gather([client.submit(inc, 1), bad])
        assert await client.gather([client.submit(inc, 1), bad], errors="skip") == [2]

    run(main)


def test_wait_and_as_completed(tmp_path):
    async def main(client):
        slow = client.submit(wait_for_file, str(tmp_path / "go"), "slow")
        quick = client.submit(inc, 1)
        done, others = await wait([slow, quick], 20, "FIRST_COMPLETED")
        assert (done, others) == ({quick}, {slow})
        with pytest.raises(TimeoutError):
            await wait(slow, timeout=0.05)
        seen = []
        async for future in as_completed([slow, quick]):
            seen.append(future)
            (tmp_path / "go").touch()
        assert seen == [quick, slow]
        walk = as_completed([slow, quick], with_results=True)
        assert sorted([str(result) async for _, result in walk]) == ["2", "slow"]
        assert [len(batch) async for batch in as_completed([quick]).abatches()] == [1]
        assert await as_completed([quick]).next_batch() == [quick]

    run(main)


def test_cancel_and_retry(tmp_path):
    async def main(client):
        future = client.submit(time.sleep, 60, pure=False)
        await client.cancel(future)
        client.cancel(future)
        with pytest.raises(CancelledError):
            await future
        bad = client.submit(fail_unless, str(tmp_path / "x"), 5)
        with pytest.raises(OSError, match="x is not there"):
            await bad
        (tmp_path / "x").touch()
        await client.retry(bad)
        assert await bad == 5

    run(main)


def test_the_event_loop_is_not_kept_waiting():
    async def main(client):
        await client.gather([client.submit(time.sleep, 0.2, pure=False) for _ in range(4)])
        assert await client.submit(add, 1, 2) == 3

    assert run(main) < 2.0


def test_it_may_be_used_before_it_is_ready_and_awaited():
    async def main():
        client = Client(slots=1, asynchronous=True)
        future = client.submit(inc, 1)
        assert await client is client
        assert await future == 2
        await client.close()
        with pytest.raises(RuntimeError, match="closed"):
            client.submit(inc, 1)

    asyncio.run(main())


def test_two_clients_of_one_loop():
    async def main():
        async with (
            Client(slots=1, asynchronous=True) as one,
            Client(one.connection_file, asynchronous=True) as other,
        ):
            assert await asyncio.gather(one.submit(inc, 1), other.submit(inc, 2)) == [2, 3]

    asyncio.run(main())


def test_what_is_wrong_is_said_when_it_is_awaited(tmp_path):
    async def main():
        with pytest.raises(ConfigurationError, match="is the scheduler running"):
            Client(tmp_path / "connection.json", asynchronous=True)
        async with Client(slots=1, asynchronous=True) as client:
            with pytest.raises(TypeError, match="async with"), client:
                pass
            client._session.home.process.kill()
            with pytest.raises(SchedulerLost):
                await client.submit(time.sleep, 60)

    asyncio.run(main())
