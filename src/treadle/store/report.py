"""What a reader found in the segments it scanned."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """One segment."""

    #: Its file.
    path: str
    #: Id of the run that wrote it; None if its first record is lost.
    run_id: str | None
    #: Puts that verified, overridden ones included.
    records: int
    #: Records lost to damage.
    damaged: int
    #: Bytes that belong to no verified record.
    bytes_skipped: int
    #: It ends in a write that was cut off: nothing that was acknowledged, unless power failed.
    torn: bool
    #: Its writer ended it in order.
    closed: bool
    #: Its records are well-formed, and none was written with this store's key.
    foreign: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanReport:
    """All segments of an index, and what reading from them met later."""

    #: Segments scanned.
    segments: int = 0
    #: Puts that verified, overridden ones included.
    records: int = 0
    #: Records lost to damage.
    damaged: int = 0
    #: Bytes that belong to no verified record.
    bytes_skipped: int = 0
    #: Segments that end in a write that was cut off.
    torn_tails: int = 0
    #: Keys that were indexed, but whose payload was damaged or gone when it was wanted.
    read_failures: int = 0
    #: The segments, in the order in which later ones override earlier ones.
    files: tuple[FileReport, ...] = ()

    @property
    def is_clean(self) -> bool:
        """Whether nothing is damaged or cut off."""
        return not (self.damaged or self.torn_tails or self.bytes_skipped)

    def __str__(self) -> str:
        text = f"{self.records} records in {self.segments} segments"
        if self.is_clean:
            return text
        return (
            f"{text}; {self.damaged} damaged, {self.torn_tails} cut off at the end, "
            f"{self.bytes_skipped} bytes skipped"
        )


def summarize(files: list[FileReport], *, read_failures: int) -> ScanReport:
    """Add up the reports of the segments."""
    return ScanReport(
        segments=len(files),
        records=sum(file.records for file in files),
        damaged=sum(file.damaged for file in files),
        bytes_skipped=sum(file.bytes_skipped for file in files),
        torn_tails=sum(file.torn for file in files),
        read_failures=read_failures,
        files=tuple(files),
    )
