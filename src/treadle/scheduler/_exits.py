"""How processes end, in words."""

from __future__ import annotations

_SIGNALS = {
    4: "SIGILL", 6: "SIGABRT", 7: "SIGBUS", 8: "SIGFPE", 9: "SIGKILL", 11: "SIGSEGV",
    15: "SIGTERM",
}  # fmt: skip


def died_of(exit_code: int | None) -> str:
    """What completes 'it died ...'."""
    if exit_code is None:
        return "for an unknown reason"
    if exit_code >= 0:
        return f"with exit code {exit_code}"
    name = _SIGNALS.get(-exit_code)
    return f"by signal {-exit_code}" + (f" ({name})" if name else "")
