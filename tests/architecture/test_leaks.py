"""The check for leaks finds what it is there to find, and forgives what is shared by design."""

from __future__ import annotations

import os
import threading

from tests.leaks import left_descriptors, left_threads, open_descriptors


def test_a_thread_that_does_not_end_is_named():
    before, stop = set(threading.enumerate()), threading.Event()
    thread = threading.Thread(target=stop.wait, name="straggler")
    thread.start()
    try:
        assert left_threads(before, grace_s=0.01) == ["thread 'straggler'"]
    finally:
        stop.set()
        thread.join()
    assert left_threads(before) == []


def test_the_engine_thread_is_forgiven():
    before, stop = set(threading.enumerate()), threading.Event()
    thread = threading.Thread(target=stop.wait, name="treadle-engine")
    thread.start()
    try:
        assert left_threads(before, grace_s=0.01) == []
    finally:
        stop.set()
        thread.join()


def test_an_open_file_is_named(tmp_path):
    threads, before = set(threading.enumerate()), open_descriptors()
    number = os.open(tmp_path / "left-open", os.O_CREAT)
    try:
        (complaint,) = left_descriptors(threads, before, grace_s=0.01)
    finally:
        os.close(number)
    assert complaint.endswith("left-open")
    assert left_descriptors(threads, before) == []
