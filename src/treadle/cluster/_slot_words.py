"""What a slot says for people to read."""

from __future__ import annotations


def explain_read_only(error: ValueError) -> None:
    """NumPy says that an array is read-only, and cannot say why."""
    try:
        if "read-only" in str(error):
            error.add_note(
                "Large inputs of a task are shared memory, which is read-only. Work on a copy "
                "(array.copy()), or give the app the option writable=True: then they are private."
            )
    except BaseException:  # noqa: BLE001 - its text is user code
        pass


def name_of(kind: type) -> str:
    """What a type is called; for people, and short enough for a message."""
    name = kind.__name__
    if type(name) is not str:  # a metaclass may say anything
        return "?"
    if len(name) > 200 or not name.isascii():
        name = name[:200].encode("utf-8", "replace").decode()
    return name
