from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import pytest

from tests.unit.store.disks import FaultDisk, Plan, SmallDisk
from tests.unit.store.places import checkpoint, contents, key, only_segment
from treadle.errors import CheckpointWriteError
from treadle.store import CheckpointIndex, CheckpointLog
from treadle.store.log import GROUP_BYTES, RESERVE_BYTES, Durability

ITEMS = {key(n): b"value %d" % n for n in range(20)}


@pytest.fixture
def place(tmp_path: Path) -> tuple[Path, bytes]:
    return checkpoint(tmp_path / "runinfo")


def new_log(
    place: tuple[Path, bytes],
    disk: FaultDisk | None = None,
    *,
    durability: Durability = "process",
    segment_bytes: int = 1 << 20,
) -> CheckpointLog:
    return CheckpointLog(
        *place, run_id="000", durability=durability, segment_bytes=segment_bytes, disk=disk
    )


def failing(after: str, code: int, times: int = 1) -> Plan:
    """Fail the first calls of this name, once the log's first segment is made."""
    left = times

    def plan(name: str, number: int) -> int | None:
        nonlocal left
        if name == after and number >= 5 and left:
            left -= 1
            return code
        return None

    return plan


def segments(place: tuple[Path, bytes]) -> int:
    return len(list(place[0].glob("segment-*.tlog")))


def test_what_was_committed_can_be_read_while_the_log_is_open(place: tuple[Path, bytes]) -> None:
    with new_log(place) as log:
        log.commit(log.append("a", b"1"))
        assert contents(place[0]) == {"a": b"1"}
        assert log.statistics().records == 1


def test_what_was_not_committed_is_written_by_close(place: tuple[Path, bytes]) -> None:
    log = new_log(place)
    log.append("a", b"1")
    assert contents(place[0]) == {}
    log.close()
    assert contents(place[0]) == {"a": b"1"}


def test_a_closed_log_refuses_records_and_closes_again(place: tuple[Path, bytes]) -> None:
    log = new_log(place)
    log.close()
    log.close()
    log.commit()
    assert log.degraded is None
    with pytest.raises(CheckpointWriteError, match="the log is closed"):
        log.append("a", b"1")
    with pytest.raises(CheckpointWriteError, match="the log is closed"):
        log.append_many([("a", b"1")])


def test_a_group_takes_one_write(place: tuple[Path, bytes]) -> None:
    disk = FaultDisk()
    with new_log(place, disk) as log:
        before = disk.calls.count("write")
        log.commit(log.append_many(ITEMS.items()))
        assert disk.calls.count("write") == before + 1
        log.commit()
        log.flush()
        assert disk.calls.count("write") == before + 1
    assert contents(place[0]) == ITEMS


def test_only_power_durability_syncs_before_it_acknowledges(place: tuple[Path, bytes]) -> None:
    for durability, syncs in (("process", 0), ("power", 1)):
        disk = FaultDisk()
        with new_log(place, disk, durability=durability) as log:  # type: ignore[arg-type]
            before = disk.calls.count("sync")
            log.commit(log.append("a", b"1"))
            assert disk.calls.count("sync") == before + syncs


def test_a_new_segment_is_synced_with_its_name(place: tuple[Path, bytes]) -> None:
    disk = FaultDisk()
    with new_log(place, disk):
        assert disk.calls == ["create", "write", "sync", "sync_directory", "reserve"]


def test_what_nobody_commits_does_not_pile_up(place: tuple[Path, bytes]) -> None:
    with new_log(place) as log:
        for n in range(4):
            log.append(key(n), bytes(GROUP_BYTES // 2))
        assert log.statistics().records >= 2


def test_a_full_segment_is_closed_and_the_next_one_begun(place: tuple[Path, bytes]) -> None:
    with new_log(place, segment_bytes=500) as log:
        for name, payload in ITEMS.items():
            log.commit(log.append(name, payload))
        assert log.statistics().segments == segments(place) > 3
    with CheckpointIndex.open([place[0]], strict=True) as index:
        assert all(file.closed for file in index.report().files)
    assert contents(place[0]) == ITEMS


def test_two_logs_in_one_directory_have_segments_of_their_own(place: tuple[Path, bytes]) -> None:
    with new_log(place) as first, new_log(place) as second:
        first.commit(first.append("a", b"1"))
        second.commit(second.append("b", b"2"))
        assert segments(place) == 2
    assert contents(place[0]) == {"a": b"1", "b": b"2"}


def test_a_large_payload_is_in_a_file_of_its_own_before_its_record_is(
    place: tuple[Path, bytes],
) -> None:
    large = bytes(range(256)) * 5000
    disk = FaultDisk()
    with new_log(place, disk, durability="power") as log:
        done = len(disk.calls)
        log.commit(log.append("large", large))
        assert disk.calls[done:] == [
            "create", "write", "sync", "close", "rename", "sync_directory",  # the blob
            "write", "sync",  # the record
        ]  # fmt: skip
    assert only_segment(place[0]).stat().st_size < 1000
    assert contents(place[0]) == {"large": large}


def test_short_writes_are_continued(place: tuple[Path, bytes]) -> None:
    disk = FaultDisk(write_limit=11)
    with new_log(place, disk) as log:
        log.commit(log.append_many(ITEMS.items()))
        assert log.statistics().errors == 0
    assert max(disk.writes) == 11
    assert contents(place[0]) == ITEMS


def test_a_write_that_takes_nothing_is_an_error(place: tuple[Path, bytes]) -> None:
    disk = FaultDisk()
    with new_log(place, disk) as log:
        disk.write_limit = 0
        with pytest.raises(CheckpointWriteError, match="no more"):
            log.commit(log.append("a", b"1"))


@pytest.mark.parametrize(
    ("durability", "call", "code"),
    [
        ("process", "write", errno.EIO),
        ("process", "write", errno.ENOSPC),
        ("process", "write", errno.ESTALE),
        ("power", "write", errno.EIO),
        ("power", "sync", errno.EIO),
    ],
)
def test_an_error_costs_the_segment_and_no_record(
    place: tuple[Path, bytes], durability: Durability, call: str, code: int
) -> None:
    disk = FaultDisk(failing(call, code))
    with new_log(place, disk, durability=durability) as log:
        for name, payload in ITEMS.items():
            log.commit(log.append(name, payload))
        assert log.degraded is None
        assert log.statistics().errors == 1
        assert log.statistics().segments == segments(place) == 2
    assert contents(place[0]) == ITEMS


def test_a_descriptor_whose_sync_failed_is_never_used_again(place: tuple[Path, bytes]) -> None:
    disk = FaultDisk(failing("sync", errno.EIO))
    with new_log(place, disk, durability="power") as log:
        log.append("a", b"1")
        log.commit()
        failed = disk.calls.index("sync", 6)
        assert disk.calls[failed + 1 : failed + 3] == ["close", "create"]


@pytest.mark.parametrize("call", ["write", "create", "sync", "sync_directory"])
def test_a_second_failure_ends_the_log_loudly_but_once(
    place: tuple[Path, bytes], caplog: pytest.LogCaptureFixture, call: str
) -> None:
    broken = False

    def plan(name: str, number: int) -> int | None:
        return errno.EIO if broken and name in ("write", call) else None

    log = new_log(place, FaultDisk(plan))
    log.commit(log.append("kept", b"1"))
    broken = True
    with caplog.at_level(logging.WARNING, "treadle.store"):
        with pytest.raises(CheckpointWriteError, match="Input/output error"):
            log.commit(log.append("lost", b"2"))
        assert isinstance(log.degraded, OSError)
        for _ in range(3):
            with pytest.raises(CheckpointWriteError, match="Input/output error"):
                log.append("refused", b"3")
        with pytest.raises(CheckpointWriteError):
            log.append_many([("refused", b"3")])
        log.close()
    assert len(caplog.records) == 1
    assert contents(place[0])["kept"] == b"1"


def test_what_waits_for_a_lost_record_is_told_also_later(place: tuple[Path, bytes]) -> None:
    log = new_log(place, disk := FaultDisk())
    early = log.append("kept", b"1")
    log.commit(early)
    late = log.append("lost", b"2")
    disk.plan = lambda name, number: errno.EROFS
    for _ in range(2):
        with pytest.raises(CheckpointWriteError, match="Read-only"):
            log.commit(late)
    log.commit(early)
    log.close()


def test_close_tells_of_records_that_it_could_not_write(place: tuple[Path, bytes]) -> None:
    log = new_log(place, disk := FaultDisk())
    log.append("lost", b"1")
    disk.plan = lambda name, number: errno.EIO
    with pytest.raises(CheckpointWriteError):
        log.close()
    log.close()


def test_close_tells_that_it_could_not_sync(place: tuple[Path, bytes]) -> None:
    log = new_log(place, disk := FaultDisk())
    log.commit(log.append("kept", b"1"))
    disk.plan = lambda name, number: errno.EIO if name == "sync" else None
    with pytest.raises(CheckpointWriteError):
        log.close()
    assert log.degraded is not None
    assert contents(place[0]) == {"kept": b"1"}


@pytest.mark.parametrize("durability", ["process", "power"])
def test_a_full_disk_takes_what_is_pending_and_a_closing_record(
    place: tuple[Path, bytes], durability: Durability
) -> None:
    log = new_log(place, SmallDisk(RESERVE_BYTES + 5000), durability=durability)
    kept: dict[str, bytes] = {}

    def fill() -> None:
        for n in range(1000):
            log.commit(log.append(key(n), b"x" * 300))
            kept[key(n)] = b"x" * 300

    with pytest.raises(CheckpointWriteError, match="No space left"):
        fill()
    assert len(kept) > 10
    log.close()
    assert contents(place[0]) == kept
    with CheckpointIndex.open([place[0]]) as index:
        assert index.report().files[-1].closed


def test_a_disk_that_has_space_again_goes_on(place: tuple[Path, bytes]) -> None:
    disk = SmallDisk(RESERVE_BYTES + 1000)
    with new_log(place, disk) as log:
        for name, payload in ITEMS.items():
            if disk.free < 200:
                disk.plan = make_room(disk)
            log.commit(log.append(name, payload))
        assert log.degraded is None
    assert contents(place[0]) == ITEMS


def make_room(disk: SmallDisk) -> Plan:
    def plan(name: str, number: int) -> int | None:
        if name == "create":
            disk.free += 2 * RESERVE_BYTES
        return None

    return plan


def test_a_large_payload_that_does_not_fit_leaves_the_log_working(
    place: tuple[Path, bytes],
) -> None:
    with new_log(place, SmallDisk(RESERVE_BYTES + 10_000)) as log:
        with pytest.raises(CheckpointWriteError, match="2097152 bytes"):
            log.append("large", bytes(2 << 20))
        assert list(place[0].glob("*.tmp")) == []
        assert log.degraded is None


def test_a_log_that_cannot_begin_says_so(place: tuple[Path, bytes]) -> None:
    for call in ("create", "write", "sync", "sync_directory"):
        plan = failing_always(call)
        with pytest.raises(CheckpointWriteError, match="Read-only file system"):
            new_log(place, FaultDisk(plan))


def failing_always(call: str) -> Plan:
    return lambda name, number: errno.EROFS if name == call else None


def test_an_unknown_durability_is_refused(place: tuple[Path, bytes]) -> None:
    with pytest.raises(ValueError, match="'process' or 'power', not 'nuclear'"):
        new_log(place, durability="nuclear")  # type: ignore[arg-type]


def test_an_interrupt_during_a_write_loses_nothing(place: tuple[Path, bytes]) -> None:
    interrupts = [KeyboardInterrupt()]

    def plan(name: str, number: int) -> int | None:
        if name == "write" and number >= 5 and interrupts:
            raise interrupts.pop()
        return None

    with new_log(place, FaultDisk(plan)) as log:
        ticket = log.append("a", b"1")
        with pytest.raises(KeyboardInterrupt):
            log.commit(ticket)
        log.commit(ticket)
        assert log.degraded is None
    assert contents(place[0]) == {"a": b"1"}


def test_only_the_process_that_opened_the_log_writes_to_it(place: tuple[Path, bytes]) -> None:
    with new_log(place) as log:
        log.append("a", b"1")
        child = os.fork()
        if child == 0:  # it inherited the buffer and the descriptor
            try:
                log.append("b", b"2")
            except CheckpointWriteError:
                log.close()
                os._exit(7)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert contents(place[0]) == {"a": b"1"}


def test_a_log_closes_in_order_on_a_disk_that_others_have_filled(
    place: tuple[Path, bytes],
) -> None:
    disk = SmallDisk(RESERVE_BYTES + 10_000)
    with new_log(place, disk) as log:
        log.commit(log.append("a", b"1"))
        disk.free = 0
    with CheckpointIndex.open([place[0]], strict=True) as index:
        assert index.report().files[0].closed
