"""What a memoizer gives, keeps and writes."""

from __future__ import annotations

import logging
import os
import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import pytest

from tests.unit.memo.fake_log import FakeDisk
from tests.unit.memo.memoizers import FakeMemoizer, Record, call, started
from treadle.dataflow.memoization import BasicMemoizer, Memoizer
from treadle.errors import BadCheckpoint, ConfigurationError, MemoKeyError


def answer(x):
    return [x, 42]


def constant(x):
    return 42


def test_the_same_call_is_found_and_another_is_not():
    memoizer = started()
    assert call(memoizer, answer, 1)[:2] == ([1, 42], False)
    assert call(memoizer, answer, 1)[:2] == ([1, 42], True)
    assert call(memoizer, answer, x=1)[:2] == ([1, 42], True)
    assert call(memoizer, answer, 2)[:2] == ([2, 42], False)
    statistics = memoizer.statistics()
    assert (statistics.hits, statistics.misses, statistics.entries) == (2, 2, 2)


def test_what_is_done_to_a_result_does_not_reach_the_next_who_asks():
    memoizer = started()
    first, _, _ = call(memoizer, answer, 1)
    first.append("spoiled")
    second, hit, _ = call(memoizer, answer, 1)
    assert hit
    second.append("spoiled")
    assert call(memoizer, answer, 1)[:2] == ([1, 42], True)


def test_an_app_without_cache_has_no_key_and_is_never_found():
    memoizer = started()
    record = Record(answer, 1, memoize=False)
    assert memoizer.make_key(record) is None
    assert memoizer.check_memo(record) is None
    memoizer.update_memo_result(record, 1)
    memoizer.update_memo_exception(record, ValueError())
    assert memoizer.statistics().entries == 0


def test_memoize_false_turns_all_of_it_off():
    memoizer = started(memoize=False, checkpoint_mode="task_exit")
    assert call(memoizer, answer, 1)[1:2] == (False,)
    assert call(memoizer, answer, 1)[1:2] == (False,)
    memoizer.close()
    assert memoizer.disk.opened == 0


def test_the_key_is_plain_text_of_64_digits():
    key = started().make_key(Record(answer, 1))
    assert type(key) is str
    assert len(bytes.fromhex(key)) == 32


def test_a_key_is_made_by_check_memo_if_the_kernel_made_none():
    memoizer = started()
    record = Record(answer, 1)
    assert memoizer.check_memo(record) is None
    assert record.hashsum is not None


def test_an_argument_without_identity_is_an_error_of_the_call():
    with pytest.raises(MemoKeyError, match="argument 'x'"):
        started().make_key(Record(answer, threading.Lock()))
    started().make_key(Record(answer, threading.Lock(), ignore=("x",)))


# --- failures ------------------------------------------------------------------------------------


def raises(x):
    raise ValueError(x)


def test_failures_are_not_given_again_by_default():
    memoizer = started()
    with pytest.raises(ValueError, match="1"):
        call(memoizer, raises, 1)
    record = Record(raises, 1)
    record.hashsum = memoizer.make_key(record)
    assert memoizer.check_memo(record) is None


def test_failures_are_given_again_if_asked_for_also_by_the_next_run():
    disk = FakeDisk()
    for run_name in ("000", "001"):
        memoizer = started(disk, run_name, memo_failures=True, checkpoint_mode="task_exit")
        if run_name == "000":
            with pytest.raises(ValueError, match="1"):
                call(memoizer, raises, 1)
        record = Record(raises, 1)
        record.hashsum = memoizer.make_key(record)
        found = memoizer.check_memo(record)
        assert found is not None
        assert isinstance(found.exception(), ValueError)
        memoizer.close()
    careful = started(disk, "002")
    record.hashsum = careful.make_key(record)
    assert careful.check_memo(record) is None


@pytest.mark.parametrize("error", [CancelledError(), KeyboardInterrupt(), SystemExit(1)])
def test_what_ended_from_outside_is_never_kept(error):
    memoizer = started(memo_failures=True)
    record = Record(answer, 1)
    record.hashsum = memoizer.make_key(record)
    memoizer.update_memo_exception(record, error)
    assert memoizer.check_memo(record) is None


# --- modes ---------------------------------------------------------------------------------------


def test_task_exit_has_written_when_the_update_returns():
    memoizer = started(checkpoint_mode="task_exit")
    _, _, record = call(memoizer, answer, 1)
    assert memoizer.disk.results(memoizer.directory) == [record.hashsum]
    assert record.checkpoint
    assert memoizer.checkpoint() == memoizer.directory
    assert memoizer.statistics().checkpointed == 1


@pytest.mark.parametrize("mode", ["manual", "dfk_exit", "periodic"])
def test_the_other_modes_write_when_asked_and_at_the_end(mode):
    memoizer = started(checkpoint_mode=mode)
    _, _, first = call(memoizer, answer, 1)
    assert memoizer.disk.opened == 0
    assert memoizer.checkpoint() == memoizer.directory
    assert memoizer.disk.results(memoizer.directory) == [first.hashsum]
    _, _, second = call(memoizer, answer, 2)
    memoizer.close()
    assert memoizer.disk.results(memoizer.directory) == [first.hashsum, second.hashsum]
    memoizer.close()


def test_without_a_mode_only_a_call_of_checkpoint_writes():
    memoizer = started()
    call(memoizer, answer, 1)
    call(memoizer, constant, 1)
    assert memoizer.checkpoint() == memoizer.directory
    assert len(memoizer.disk.results(memoizer.directory)) == 2
    call(memoizer, answer, 2)
    memoizer.close()
    assert len(memoizer.disk.results(memoizer.directory)) == 2
    untouched = started()
    call(untouched, answer, 1)
    untouched.close()
    assert untouched.disk.opened == 0


def test_a_checkpoint_of_some_tasks_writes_these():
    memoizer = started(checkpoint_mode="manual")
    records = [call(memoizer, answer, n)[2] for n in range(4)]
    memoizer.checkpoint([records[1], records[3]])
    wanted = {records[1].hashsum, records[3].hashsum}
    assert set(memoizer.disk.results(memoizer.directory)) == wanted
    memoizer.checkpoint([])
    assert set(memoizer.disk.results(memoizer.directory)) == wanted
    memoizer.checkpoint()
    assert len(memoizer.disk.results(memoizer.directory)) == 4


def test_nothing_written_means_no_directory():
    assert started(checkpoint_mode="manual").checkpoint() == ""
    assert BasicMemoizer().checkpoint() == ""


def test_periodic_writes_by_the_clock():
    memoizer = started(checkpoint_mode="periodic", checkpoint_period=0.01)
    written = threading.Event()
    original = memoizer.disk.open_log

    def open_log(directory):
        log = original(directory)
        commit = log.commit

        def committed(ticket=None):
            commit(ticket)
            written.set()

        log.commit = committed
        return log

    memoizer.disk.open_log = open_log
    call(memoizer, answer, 1)
    assert written.wait(10)
    assert len(memoizer.disk.results(memoizer.directory)) == 1
    memoizer.close()
    assert not any(t.name == "treadle-checkpoint" for t in threading.enumerate())


# --- the next run --------------------------------------------------------------------------------


def test_the_next_run_finds_what_was_written():
    disk = FakeDisk()
    first = started(disk, "000", checkpoint_mode="task_exit")
    call(first, answer, 1)
    first.close()
    second = started(disk, "001", checkpoint_mode="task_exit")
    assert call(second, answer, 1)[:2] == ([1, 42], True)
    assert call(second, answer, 1)[:2] == ([1, 42], True)
    assert call(second, answer, 2)[:2] == ([2, 42], False)
    second.close()


def test_load_checkpoints_gives_futures_by_key_and_makes_them_known():
    disk = FakeDisk()
    first = started(disk, "000", checkpoint_mode="task_exit")
    record = call(first, answer, 1)[2]
    first.close()
    second = started(disk, "001", checkpoint_files=[])
    assert not call(second, answer, 3)[1]
    loaded = second.load_checkpoints(["/runinfo/000/checkpoint"])
    assert list(loaded) == [record.hashsum]
    assert len(loaded) == 1
    assert record.hashsum in loaded
    assert loaded[record.hashsum].result() == [1, 42]
    assert "no such key" not in loaded
    with pytest.raises(KeyError):
        loaded["no such key"]
    assert call(second, answer, 1)[1]
    assert dict(second.load_checkpoints([])) == {}


def test_a_checkpoint_that_was_named_must_be_there():
    with pytest.raises(BadCheckpoint):
        started(checkpoint_files=["/runinfo/007/checkpoint"])


class Unloadable:
    def __reduce__(self):
        return _refuse, ()


def _refuse():
    raise ImportError("its class is gone")


def test_a_result_that_cannot_be_loaded_is_a_miss_that_is_counted(caplog):
    memoizer = started()

    def make(x):
        return Unloadable()

    with caplog.at_level(logging.WARNING, "treadle"):
        for _ in range(3):
            assert not call(memoizer, make, 1)[1]
    assert memoizer.statistics().load_errors == 2
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    assert "its class is gone" in caplog.text


# --- what goes wrong -----------------------------------------------------------------------------


class Holder:
    def __init__(self):
        self.inner = {"lock": threading.Lock()}


def test_a_result_that_cannot_be_pickled_is_kept_in_this_run_and_said_once(caplog):
    memoizer = started(checkpoint_mode="task_exit")

    def make(x):
        return Holder()

    with caplog.at_level(logging.WARNING, "treadle"):
        first = call(memoizer, make, 1)[0]
        call(memoizer, make, 2)
    assert call(memoizer, make, 1)[:2] == (first, True)
    assert memoizer.statistics().unpicklable == 2
    assert len(caplog.records) == 1
    assert ".inner['lock']" in caplog.text
    assert memoizer.disk.opened == 0


def test_a_full_disk_loses_no_result_and_fails_no_task(caplog):
    memoizer = started(checkpoint_mode="task_exit")
    memoizer.disk.full = True
    with caplog.at_level(logging.WARNING, "treadle"):
        for n in range(3):
            assert call(memoizer, answer, n)[:2] == ([n, 42], False)
    assert call(memoizer, answer, 1)[:2] == ([1, 42], True)
    statistics = memoizer.statistics()
    assert (statistics.checkpointed, statistics.not_checkpointed) == (0, 3)
    assert statistics.degraded == "no space left"
    assert 1 <= len(caplog.records) <= 2
    memoizer.close()


def test_a_log_that_cannot_be_opened_fails_no_task(caplog):
    class Refused(FakeMemoizer):
        def _open_log(self):
            raise BadCheckpoint("writable by others")

    memoizer = Refused(checkpoint_mode="task_exit")
    memoizer.start(run_dir="/runinfo/000", config_run_dir="/runinfo")
    with caplog.at_level(logging.WARNING, "treadle"):
        assert call(memoizer, answer, 1)[:2] == ([1, 42], False)
        assert call(memoizer, answer, 2)[:2] == ([2, 42], False)
    assert "writable by others" in memoizer.statistics().degraded
    memoizer.close()


def test_results_after_the_end_harm_nobody():
    memoizer = started(checkpoint_mode="task_exit")
    call(memoizer, answer, 1)
    memoizer.close()
    assert call(memoizer, answer, 2)[:2] == ([2, 42], False)


# --- the budget ----------------------------------------------------------------------------------


def big(x):
    return [x] * 1000


def test_the_table_stays_within_its_budget():
    memoizer = started(cache_bytes=20_000)
    for n in range(1000, 1100):
        call(memoizer, big, n)
    statistics = memoizer.statistics()
    assert statistics.entry_bytes <= 20_000
    assert statistics.entries + statistics.evicted == 100
    assert call(memoizer, big, 1099)[1]
    assert not call(memoizer, big, 1000)[1]


def test_what_memory_let_go_is_found_in_the_log():
    memoizer = started(cache_bytes=20_000, checkpoint_mode="task_exit")
    for n in range(1000, 1100):
        call(memoizer, big, n)
    assert all(call(memoizer, big, n)[1] for n in range(1000, 1100))
    memoizer.close()


def test_a_result_larger_than_the_budget_is_not_kept_in_memory():
    memoizer = started(cache_bytes=100)
    call(memoizer, big, 1000)
    assert memoizer.statistics().entries == 0
    nothing = started(cache_bytes=0)
    assert not call(nothing, constant, 1)[1]
    assert not call(nothing, constant, 1)[1]


# --- threads -------------------------------------------------------------------------------------


def test_many_threads_may_ask_at_once():
    memoizer = started(checkpoint_mode="task_exit", cache_bytes=50_000)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda n: call(memoizer, answer, n % 50)[0], range(1000)))
    assert results == [[n % 50, 42] for n in range(1000)]
    assert len(memoizer.disk.results(memoizer.directory)) == 50
    memoizer.close()


# --- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"checkpoint_mode": "sometimes"}, "None, 'task_exit', 'periodic', 'dfk_exit', 'manual'"),
        ({"checkpoint_period": "10:00"}, "'HH:MM:SS'"),
        ({"checkpoint_period": "aa:bb:cc"}, "'HH:MM:SS'"),
        ({"checkpoint_period": 0}, "more than zero"),
        ({"checkpoint_period": -1}, "more than zero"),
        ({"checkpoint_period": True}, "more than zero"),
        ({"checkpoint_period": float("nan")}, "more than zero"),
        ({"durability": "eternal"}, "'process', 'power'"),
        ({"memo_files": "mtime"}, "'url', 'content'"),
        ({"cache_bytes": -1}, "number of bytes"),
        ({"cache_bytes": "1 GB"}, "number of bytes"),
        ({"checkpoint_files": "runinfo/000"}, "list of checkpoint directories"),
        ({"checkpoint_files": [1]}, "paths of checkpoint directories"),
        ({"memoize": "yes"}, "True, False"),
        ({"memo_failures": None}, "True, False"),
    ],
)
def test_an_option_that_cannot_work_says_what_can(options, text):
    with pytest.raises(ConfigurationError) as caught:
        BasicMemoizer(**options)
    name = next(iter(options))
    assert name in str(caught.value)
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("period", "seconds"),
    [
        (None, 1800),
        ("00:30:00", 1800),
        ("01:02:03", 3723),
        ("100:00:00", 360_000),
        (5, 5),
        (0.5, 0.5),
    ],
)
def test_periods(period, seconds):
    assert BasicMemoizer(checkpoint_period=period)._period_s == seconds


def test_the_repr_rebuilds_it():
    memoizer = BasicMemoizer(checkpoint_mode="periodic", checkpoint_period="00:01:00")
    rebuilt = eval(repr(memoizer))
    assert repr(rebuilt) == repr(memoizer)
    assert "checkpoint_mode='periodic'" in repr(memoizer)


# --- a plug-in -----------------------------------------------------------------------------------


def test_a_plug_in_needs_five_methods():
    class Plain(Memoizer):
        def start(self, *, run_dir, config_run_dir):
            self.table = {}

        def check_memo(self, task_record):
            return self.table.get(task_record.args)

        def update_memo_result(self, task_record, result):
            self.table[task_record.args] = result

        def update_memo_exception(self, task_record, exc):
            pass

        def close(self):
            pass

    plain = Plain()
    plain.start(run_dir=os.curdir, config_run_dir=os.curdir)
    record = Record(answer, 1)
    assert plain.make_key(record) is None
    assert plain.checkpoint() == ""
    assert plain.load_checkpoints([]) == {}
    assert plain.explain_miss(record) is None
    with pytest.raises(TypeError, match="abstract"):
        Memoizer()
