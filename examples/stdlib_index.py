"""An inverted index of Python's own standard library, as a dataflow.

    python examples/stdlib_index.py [--output DIR] [--threads N] [--limit FILES]

Every `.py` file of the running interpreter's library is scanned by a task of its own; groups of
scans are written to shards of an index; a bash app compresses each shard and takes its checksum;
the counts are summed by a tree whose width a join app decides when it sees them. The result is
checked against `collections.Counter` over the same files.

Scans are cached by the contents of their file and written to a checkpoint, so that a second run
reads them from there and says so.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import json
import re
import sys
import sysconfig
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

import treadle
from treadle import Config, File, ThreadPoolExecutor, bash_app, join_app, python_app
from treadle.dataflow.memoization import BasicMemoizer
from treadle.utils import get_all_checkpoints

if TYPE_CHECKING:
    from treadle import AppFuture

#: Files whose scans go into one shard of the index.
SHARD = 64
#: A sum may have this many entries before the tree gets narrower.
WIDE = 200_000

IDENTIFIER = re.compile(r"[^\W\d]\w*")


# --- apps -----------------------------------------------------------------------------------------


@python_app(cache=True)
def scan(source: File) -> Counter[str]:
    """How often each identifier-like word stands in one file."""
    text = Path(source.filepath).read_text(encoding="utf-8", errors="replace")
    return Counter(IDENTIFIER.findall(text))


@python_app
def write_shard(
    names: Sequence[str], inputs: Sequence[Counter[str]] = (), outputs: Sequence[File] = ()
) -> Counter[str]:
    """Write the part of the index that some files make up; return the sum of their counts."""
    postings: dict[str, list[str]] = {}
    total: Counter[str] = Counter()
    for name, counts in zip(names, inputs, strict=True):
        total.update(counts)
        for word, count in counts.items():
            postings.setdefault(word, []).append(f"{name}:{count}")
    with open(outputs[0].filepath, "w", encoding="utf-8") as shard:
        for word in sorted(postings):
            shard.write(f"{word}\t{' '.join(postings[word])}\n")
    return total


@bash_app
def pack(inputs: Sequence[File] = (), outputs: Sequence[File] = ()) -> str:
    """Compress a shard and take the checksum of what comes out."""
    shard, packed, checksum = inputs[0], outputs[0], outputs[1]
    return f"gzip -9nc '{shard}' > '{packed}' && cksum < '{packed}' > '{checksum}'"


@python_app
def add(*counts: Counter[str]) -> Counter[str]:
    """The sum of some counts."""
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return total


@join_app
def add_all(*counts: Counter[str]) -> AppFuture[Counter[str]]:
    """The sum of any number of counts: a tree, the narrower the larger the counts are."""
    mean = sum(map(len, counts)) // len(counts)
    width = max(2, min(8, WIDE // max(mean, 1)))
    sums = [add(*group) for group in batches(counts, width)]
    return sums[0] if len(sums) == 1 else add_all(*(s.out for s in sums))


# --- the program ----------------------------------------------------------------------------------


def batches(items: Iterable[Any], size: int) -> Iterable[list[Any]]:
    """The items in lists of at most `size`."""
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch


def library_sources(limit: int | None) -> tuple[Path, list[Path]]:
    """The directory of the standard library and its Python files, site packages left out."""
    root = Path(sysconfig.get_path("stdlib"))
    found = (p for p in root.rglob("*.py") if not {"site-packages", "dist-packages"} & {*p.parts})
    return root, sorted(p for p in found if p.is_file())[:limit]


def build(root: Path, sources: list[Path], output: Path) -> dict[str, list[AppFuture[Any]]]:
    """Start all tasks; returns their futures by the name of the app."""
    futures: dict[str, list[AppFuture[Any]]] = {"scan": [], "write_shard": [], "pack": []}
    for number, group in enumerate(batches(sources, SHARD)):
        scans = [scan(File(path)) for path in group]
        shard = File(output / f"shard-{number:03}.tsv")
        written = write_shard(
            [str(path.relative_to(root)) for path in group],
            inputs=[s.out for s in scans],
            outputs=[shard],
        )
        packed = [File(output / f"shard-{number:03}.tsv{end}") for end in (".gz", ".cksum")]
        futures["scan"] += scans
        futures["write_shard"].append(written)
        futures["pack"].append(pack(inputs=[written.outputs[0]], outputs=packed))
        if number % 8 == 7:
            print_progress(futures)
    futures["add_all"] = [add_all(*(f.out for f in futures["write_shard"]))]
    return futures


def show_progress(futures: dict[str, list[AppFuture[Any]]]) -> None:
    """Tell twice a second how far the work is, until it is done."""
    pending: set[Future[Any]] = {f for group in futures.values() for f in group}
    while pending:
        _, pending = wait(pending, timeout=0.5)
        print_progress(futures)
    if sys.stdout.isatty():
        print()


def print_progress(futures: dict[str, list[AppFuture[Any]]]) -> None:
    """Tell how many calls of each app are done, of those made so far."""
    parts = [f"{app} {sum(f.done() for f in group)}/{len(group)}" for app, group in futures.items()]
    line = f"  {'  '.join(parts)}"
    print(f"\r{line}", end="", flush=True) if sys.stdout.isatty() else print(line, flush=True)


def print_times(futures: dict[str, list[AppFuture[Any]]]) -> None:
    """Print where the time went, by app. Threads share one interpreter, so times overlap."""
    print(f"\n  {'app':<12} {'tasks':>6} {'remembered':>11} {'ran (s)':>9} {'waited (s)':>11}")
    for app, group in futures.items():
        ran = waited = 0.0
        for record in (f.task_record for f in group):
            if record.try_time_running and record.try_time_returned and record.time_invoked:
                ran += (record.try_time_returned - record.try_time_running).total_seconds()
                waited += (record.try_time_running - record.time_invoked).total_seconds()
        known = sum(f.task_record.from_memo is True for f in group)
        mean = waited / max(1, len(group) - known)
        print(f"  {app:<12} {len(group):>6} {known:>11} {ran:>9.2f} {mean:>11.3f}")
    print("  (ran: all tasks together; waited: one task on average, from its call to its start)")


def verify(sources: list[Path], total: Counter[str], output: Path) -> None:
    """Check the sum and the packed index against a plain loop over the same files."""
    expected: Counter[str] = Counter()
    for path in sources:
        expected.update(IDENTIFIER.findall(path.read_text(encoding="utf-8", errors="replace")))
    if total != expected:
        raise SystemExit("the sum differs from collections.Counter over the same files")
    indexed: Counter[str] = Counter()
    for shard in sorted(output.glob("shard-*.tsv.gz")):
        with gzip.open(shard, "rt", encoding="utf-8") as lines:
            for line in lines:
                word, postings = line.rstrip("\n").split("\t")
                indexed[word] += sum(int(p.rpartition(":")[2]) for p in postings.split(" "))
    if indexed != expected:
        raise SystemExit("the packed index differs from collections.Counter over the same files")
    print("  checked: the sum and the index equal collections.Counter over the same files")


def main() -> None:
    """Run it and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=Path("demo-output"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=int, default=None, help="scan only the first files")
    options = parser.parse_args()
    output: Path = options.output.resolve()
    index = output / "index"
    index.mkdir(parents=True, exist_ok=True)
    for old in index.glob("shard-*"):
        old.unlink()

    root, sources = library_sources(options.limit)
    print(
        f"  {len(sources)} Python files, {sum(p.stat().st_size for p in sources) / 1e6:.1f} MB, in {root}"
    )
    began = time.perf_counter()
    earlier = get_all_checkpoints(str(output / "runinfo"))
    config = Config(
        executors=[ThreadPoolExecutor(max_threads=options.threads)],
        run_dir=str(output / "runinfo"),
        memoizer=BasicMemoizer(
            checkpoint_mode="task_exit",
            checkpoint_files=earlier,
            memo_files="content",
        ),
    )
    with treadle.load(config):
        futures = build(root, sources, index)
        show_progress(futures)
        total: Counter[str] = futures["add_all"][0].result()
        seconds = time.perf_counter() - began
        print_times(futures)

    cached = sum(f.task_record.from_memo is True for f in futures["scan"])
    print(f"\n  {len(total)} different words, {sum(total.values())} in all; the most frequent:")
    print("  " + ", ".join(f"{word} {count}" for word, count in total.most_common(8)))
    (output / "counts.json").write_text(json.dumps(dict(total.most_common()), ensure_ascii=False))
    print(f"  wrote {output / 'counts.json'} and {len(list(index.glob('*.gz')))} shards in {index}")
    verify(sources, total, index)
    if earlier:
        print(
            f"  {cached} of {len(sources)} scans were served from the checkpoint of an earlier run"
        )
    else:
        print(
            f"  {cached} scans were of a file equal to another's; run it again, and none will run"
        )
    print(f"  done in {seconds:.2f} s")


if __name__ == "__main__":
    main()
