"""Numbers, amounts and lists, as people read them."""

from __future__ import annotations

#: How many of several are named.
_NAMED = 3
#: Most of a failure's text that fits in a sentence.
_LINE = 200


def named(names: list[str], noun: str) -> str:
    """The first of several by name, and how many more there are."""
    if not names:
        return f"no {noun}"
    shown = ", ".join(names[:_NAMED])
    more = len(names) - _NAMED
    return f"{noun}{'s' * (len(names) > 1)} {shown}" + (f" and {more} more" if more > 0 else "")


def count(n: int, noun: str) -> str:
    """'1 task', '2 tasks'."""
    return f"{n} {noun}{'s' * (n != 1)}"


def seconds(s: float) -> str:
    """'250 us', '3.2 s', '2 h 5 min'."""
    s = max(s, 0.0)
    if s < 1e-3:
        return f"{s * 1e6:.0f} us"
    if s < 1:
        return f"{s * 1e3:.0f} ms"
    if s < 100:
        return f"{s:.1f} s"
    minutes = round(s / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def nbytes(n: int) -> str:
    """'10 bytes', '1.2 MB'."""
    if n < 1000:
        return f"{n} bytes"
    amount = float(n)
    for unit in ("kB", "MB", "GB", "TB"):
        amount /= 1000
        if amount < 1000 or unit == "TB":
            break
    return f"{amount:.1f} {unit}"


def listed(texts: list[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    if len(texts) < 2:
        return "".join(texts)
    return f"{', '.join(texts[:-1])} and {texts[-1]}"


def first_line(text: str) -> str:
    """The first line of a text, cut to what fits in a sentence."""
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= _LINE else f"{line[:_LINE]}..."
