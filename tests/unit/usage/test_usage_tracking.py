"""Usage tracking: nothing without level and address, then only what is listed."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from treadle.errors import ConfigurationError
from treadle.usage_tracking import ADDRESS_VARIABLE, UsageTracker, usage_level
from treadle.usage_tracking.levels import DISABLED, LEVEL_1, LEVEL_2, LEVEL_3

DOCS = Path(__file__).parents[3] / "docs" / "usage-tracking.md"


class Receiver:
    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.address = f"127.0.0.1:{sock.getsockname()[1]}"

    def get(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._sock.recv(65536))
        return message

    def is_empty(self) -> bool:
        self._sock.setblocking(False)
        try:
            self._sock.recv(65536)
        except BlockingIOError:
            return True
        return False


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        yield Receiver(sock)


@pytest.fixture(autouse=True)
def no_address_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADDRESS_VARIABLE, raising=False)


def tell(tracker: UsageTracker) -> None:
    tracker.send_start([object(), ValueError("secret")])
    tracker.send_end({"exec_done": 2}, 1.5)
    tracker.close()


def listed_fields(level: int, event: str) -> set[str]:
    rows = re.findall(r"^\| (\d) \| ([\w, ]+) \| `(\w+)` ", DOCS.read_text(), re.MULTILINE)
    assert rows
    return {field for n, when, field in rows if int(n) <= level and event in when}


@pytest.mark.parametrize("level", [LEVEL_1, LEVEL_2, LEVEL_3])
def test_what_is_sent_is_what_the_docs_list(receiver: Receiver, level: int) -> None:
    tell(UsageTracker(level, project_name="survey", address=receiver.address))
    messages = [receiver.get()]
    if level == LEVEL_3:
        messages.append(receiver.get())
    assert receiver.is_empty()
    by_event = {m["event"]: m for m in messages}
    assert set(by_event["start"]) == listed_fields(level, "start")
    assert by_event["start"]["project"] == "survey"
    if level >= LEVEL_2:
        assert by_event["start"]["components"] == ["object", "ValueError"]
    if level == LEVEL_3:
        assert set(by_event["end"]) == listed_fields(level, "end")
        assert by_event["end"]["tasks"] == {"exec_done": 2}
        assert by_event["end"]["run"] == by_event["start"]["run"]
    assert "secret" not in json.dumps(messages)


def test_the_address_may_come_from_the_environment(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(ADDRESS_VARIABLE, receiver.address)
    tell(UsageTracker(True))
    message = receiver.get()
    assert message["event"] == "start"
    assert "project" not in message
    assert receiver.is_empty()


def test_level_zero_sends_nothing_even_with_an_address(receiver: Receiver) -> None:
    tell(UsageTracker(DISABLED, address=receiver.address))
    tell(UsageTracker(False, address=receiver.address))
    assert receiver.is_empty()


def test_without_an_address_no_socket_is_opened() -> None:
    code = """
        import sys
        seen = []
        sys.addaudithook(lambda event, args: seen.append(event))
        from treadle.usage_tracking import UsageTracker
        tracker = UsageTracker(3, project_name="x")
        tracker.send_start([object()])
        tracker.send_end({"exec_done": 1}, 0.1)
        tracker.close()
        print([e for e in seen if e.startswith("socket.")])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_start_with_a_thousand_components_is_one_small_datagram(receiver: Receiver) -> None:
    tracker = UsageTracker(2, address=receiver.address)
    tracker.send_start([ValueError()] * 1000)
    tracker.close()
    assert len(json.dumps(receiver.get())) < 1500


@pytest.mark.parametrize("address", ["127.0.0.1:9", "[::1]:9", "no-such-host.invalid:9"])
def test_nobody_listening_is_no_error(address: str) -> None:
    tell(UsageTracker(3, address=address))


def test_a_malformed_address_in_the_environment_only_warns(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ADDRESS_VARIABLE, "nonsense")
    tell(UsageTracker(3))
    assert "nonsense" in caplog.text


def test_counts_that_are_no_numbers_are_no_error(receiver: Receiver) -> None:
    tracker = UsageTracker(3, address=receiver.address)
    tracker.send_end({"x": "many"}, 0.0)  # type: ignore[dict-item]
    tracker.close()
    assert receiver.is_empty()


@pytest.mark.parametrize("level", [0, 1, 2, 3, True, False])
def test_levels_are_0_to_3_or_a_bool(level: int) -> None:
    assert usage_level(level) == int(level)


@pytest.mark.parametrize("level", [-1, 4, "1", None, 1.0])
def test_any_other_level_is_refused(level: Any) -> None:
    with pytest.raises(ConfigurationError, match="use 0"):
        UsageTracker(level)


@pytest.mark.parametrize("address", ["nohost", ":5", "host:", "host:x", "host:0", "host:65536"])
def test_a_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(ConfigurationError, match="host:port"):
        UsageTracker(1, address=address)
