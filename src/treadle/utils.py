"""Small helpers that programs look for here."""

from __future__ import annotations

import os
from pathlib import Path


def get_all_checkpoints(rundir: str | os.PathLike[str] = "runinfo") -> list[str]:
    """The checkpoint directories of all runs below `rundir`, oldest run first.

    For `checkpoint_files` of a memoizer. A run that wrote no checkpoint is left out.
    """
    return [path for run in _runs(rundir) if (path := _checkpoint(run)) is not None]


def get_last_checkpoint(rundir: str | os.PathLike[str] = "runinfo") -> list[str]:
    """The checkpoint directory of the newest run below `rundir`, in a list.

    Checkpoints hold what their own run computed: this one does not lead to those of earlier
    runs, and the list is empty if the newest run wrote none.
    """
    newest = _runs(rundir)[-1:]
    return [path for run in newest if (path := _checkpoint(run)) is not None]


def _runs(rundir: str | os.PathLike[str]) -> list[Path]:
    root = Path(os.path.abspath(rundir))
    if not root.is_dir():
        return []
    return sorted((path for path in root.iterdir() if path.is_dir()), key=_age)


def _age(run: Path) -> tuple[bool, int, str]:
    # By number: after 999 comes 1000. Other directories are older than any numbered run.
    numbered = run.name.isascii() and run.name.isdecimal()
    return numbered, int(run.name) if numbered else 0, run.name


def _checkpoint(run: Path) -> str | None:
    # Lazy: the store stands above this floor, and most programs never ask.
    from treadle.store._layout import CHECKPOINT_NAME, segments_in_order  # noqa: PLC0415

    directory = run / CHECKPOINT_NAME
    if not directory.is_dir() or not segments_in_order(os.listdir(directory)):
        return None
    return str(directory)
