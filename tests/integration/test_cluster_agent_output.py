"""What tasks print is kept, indexed, bounded and shown."""

from __future__ import annotations

import json
import os

import pytest

from tests.integration.agent_desk import desk, on_a_loop, until
from treadle import wire

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc")


def speak(out, err):
    import os
    import sys

    print(out)
    print(err, file=sys.stderr)
    os.write(1, b"from below\n")


def speak_and_die(text):
    import os

    print(text, flush=True)
    os._exit(3)


def flood(mib, seconds=0):
    import sys
    import time

    line = "x" * 1023 + "\n"
    print("the beginning")
    for _ in range(mib * 16):
        sys.stdout.write(line * 64)
        if seconds:
            time.sleep(seconds / (mib * 16))
    print("the end")


def entries(folder):
    path = folder / "index.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text().splitlines()]


def text_of(folder, entry):
    data = (folder / entry["file"]).read_bytes()
    return data[entry["offset"] : entry["offset"] + entry["length"]]


def test_what_a_task_printed_is_found_by_the_index(tmp_path):
    async def play():
        async with desk(log_dir=str(tmp_path)) as d:
            code = d.code(speak)
            d.run(1, code, "out one", "err one")
            d.run(2, code, "out two", "err two")
            await d.value(1)
            await d.value(2)
            await until(lambda: len(entries(tmp_path)) == 4)
            found = {(e["task"], e["stream"]): text_of(tmp_path, e) for e in entries(tmp_path)}
            assert found == {
                (1, 1): b"out one\nfrom below\n",
                (1, 2): b"err one\n",
                (2, 1): b"out two\nfrom below\n",
                (2, 2): b"err two\n",
            }
            assert {e["name"] for e in entries(tmp_path)} == {"speak"}
            shown = await until(lambda: len(d.all(wire.Printed)) == 4 and d.all(wire.Printed))
            assert {(p.id, p.stream, p.name): p.text for p in shown}[1, 1, "speak"] == (
                "out one\nfrom below\n"
            )

    on_a_loop(play)


def test_the_last_words_of_a_task_that_died_are_kept(tmp_path):
    async def play():
        async with desk(log_dir=str(tmp_path), slots=1) as d:
            d.run(1, speak_and_die, "about to die")
            assert isinstance(await d.outcome(1), wire.Died)
            await d.slots_up(1)
            d.run(2, speak, "alive", "")
            await d.value(2)
            await until(lambda: len(entries(tmp_path)) == 3)
            first, *rest = entries(tmp_path)
            assert first["task"] == 1
            assert text_of(tmp_path, first) == b"about to die\n"
            assert {e["task"] for e in rest} == {2}

    on_a_loop(play)


def test_nothing_is_shown_to_who_does_not_want_it(tmp_path):
    async def play():
        async with desk(log_dir=str(tmp_path), echo=False) as d:
            d.run(1, speak, "a", "b")
            await d.value(1)
            await until(lambda: len(entries(tmp_path)) == 2)
            assert not d.all(wire.Printed)

    on_a_loop(play)


def test_of_a_flood_the_beginning_and_the_end_are_kept(tmp_path):
    async def play():
        async with desk(log_dir=str(tmp_path), slots=1, output_bytes=1 << 20) as d:
            d.run(1, flood, 20)
            await d.outcome(1)
            (entry,) = await until(lambda: entries(tmp_path))
            text = text_of(tmp_path, entry)
            assert text.startswith(b"the beginning\nxxx")
            assert text.endswith(b"xxx\nthe end\n")
            assert entry["dropped"] > 18 << 20
            tail = text[entry["head"] + entry["dropped"] :]
            assert b"\0" not in text[: entry["head"]] + tail
            assert occupied(tmp_path / entry["file"]) <= (1 << 20) + (64 << 10)
            shown = await until(lambda: len(d.all(wire.Printed)) == 2 and d.all(wire.Printed))
            assert shown[0].text.startswith("the beginning\n")
            assert shown[1].text.endswith("the end\n")
            assert sum(len(p.text) + p.dropped for p in shown) == entry["length"]

    on_a_loop(play)


@pytest.mark.timeout(40)
def test_a_flood_does_not_fill_the_disk_while_it_lasts(tmp_path):
    async def play():
        async with desk(log_dir=str(tmp_path), slots=1, output_bytes=1 << 20) as d:
            d.run(1, flood, 64, 4.0)
            file = tmp_path / "slot-0.out"
            await until(lambda: file.stat().st_size > 24 << 20, seconds=20.0)
            assert 1 not in d.outcomes
            await until(lambda: occupied(file) < 20 << 20, seconds=5.0)
            await d.outcome(1, seconds=20.0)
            (entry,) = await until(lambda: entries(tmp_path))
            assert entry["length"] > 64 << 20
            assert text_of(tmp_path, entry).startswith(b"the beginning\nxxx")
            assert text_of(tmp_path, entry).endswith(b"xxx\nthe end\n")

    on_a_loop(play)


def occupied(path):
    return path.stat().st_blocks * 512
