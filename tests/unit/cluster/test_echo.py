"""What tasks print appears in the program, with the name of the app."""

from __future__ import annotations

from treadle import wire
from treadle.cluster._echo import Echo


def test_each_line_has_the_name_of_the_app(capsys):
    echo = Echo(lambda job: job())
    echo.write(wire.Printed(1, "weave", 1, "one\ntwo\n"))
    echo.write(wire.Printed(1, "weave", 2, "no end of line"))
    out, err = capsys.readouterr()
    assert out == "[weave] one\n[weave] two\n"
    assert err == "[weave] no end of line\n"


def test_what_was_too_much_is_counted(capsys):
    Echo(lambda job: job()).write(wire.Printed(1, "weave", 1, "the end\n", 12))
    assert capsys.readouterr().out == "[weave: 12 bytes were too many]\n[weave] the end\n"


def test_a_closed_stream_is_nobodys_affair(monkeypatch):
    monkeypatch.setattr("sys.stdout", None)
    Echo(lambda job: job()).write(wire.Printed(1, "weave", 1, "lost\n"))
