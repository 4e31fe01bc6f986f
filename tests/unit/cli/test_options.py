"""The command line: what it takes, and what it says to what it does not."""

from __future__ import annotations

import argparse
import json

import pytest

from treadle.cli import _logs, _values, _worker, main
from treadle.errors import ConfigurationError


def options_of(*arguments):
    parser = argparse.ArgumentParser()
    _worker.declare(parser)
    return parser.parse_args(["--connection-file", "run.json", *arguments])


def test_without_a_command_it_says_which_there_are(capsys):
    with pytest.raises(SystemExit) as ended:
        main([])
    assert ended.value.code == 2
    assert "COMMAND" in capsys.readouterr().err


def test_help_names_all_commands_and_no_inner_ones(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("scheduler", "worker", "logs"))
    assert "zygote" not in text


@pytest.mark.parametrize("command", ["scheduler", "worker", "logs"])
def test_the_help_of_a_command_has_an_example(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"treadle {command} " in capsys.readouterr().out.partition("example")[2]


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.startswith("treadle ")


def test_an_error_of_ours_is_a_line_and_an_exit_code(capsys, tmp_path):
    assert main(["logs", str(tmp_path / "none")]) == 1
    assert capsys.readouterr().err.startswith("treadle: there is no folder ")


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (_values.size, "much"),
        (_values.size, "-1"),
        (_values.seconds, "-1"),
        (_values.seconds, "nan"),
        (_values.count, "0"),
        (_values.count, "many"),
        (_values.ports, "0"),
        (_values.ports, "9:3"),
        (_values.ports, "1:70000"),
        (_values.amount, "licence"),
        (_values.amount, "licence=-1"),
        (_values.setting, "=x"),
    ],
)
def test_a_value_that_is_none_is_refused_by_name(kind, text):
    with pytest.raises(argparse.ArgumentTypeError, match=text.replace("=", ".")):
        kind(text)


def test_values_are_read():
    assert _values.size("2 GB") == 2_000_000_000
    assert _values.size("3") == 3_000_000
    assert _values.ports("5000") == (5000, 5000)
    assert _values.ports("5000:5010") == (5000, 5010)
    assert _values.amount("licence=2") == ("licence", 2.0)
    assert _values.setting("A=b=c") == ("A", "b=c")


def test_options_become_the_settings_of_a_worker():
    settings = _worker.settings_of(
        options_of(
            *("--slots", "3", "--block", "b7", "--memory", "2 GB", "--resource", "licence=2"),
            *("--preload", "numpy", "--preload", "scipy", "--environment", "A=1", "--no-echo"),
            *("--ports", "5000:5010", "--walltime", "60", "--recycle", "0"),
        )
    )
    assert (settings.slots, settings.block, settings.ports) == (3, "b7", (5000, 5010))
    assert settings.resources == {"cores": 3.0, "memory": 2e9, "licence": 2.0}
    assert settings.preload == ("numpy", "scipy")
    assert settings.environment == {"A": "1"}
    assert (settings.echo, settings.ends_in_s, settings.recycle_bytes) == (False, 60.0, 0)


def test_a_worker_is_named_after_its_block_and_never_twice_the_same():
    ids = {_worker.settings_of(options_of("--block", "b7")).id for _ in range(20)}
    assert len(ids) == 20
    assert all(id.startswith("b7/") for id in ids)


def test_a_file_of_settings_is_read_and_options_go_before_it(tmp_path):
    path = tmp_path / "settings.json"
    path.write_text(json.dumps({"slots": 2, "log_dir": "/logs", "resources": {"gpus": 1}}))
    settings = _worker.settings_of(options_of("--settings", str(path), "--slots", "5"))
    assert (settings.slots, settings.log_dir) == (5, "/logs")
    assert settings.resources == {"cores": 5.0, "gpus": 1.0}


@pytest.mark.parametrize(
    ("text", "said"),
    [("{", "is no file of settings"), ('{"slot": 2}', "slot"), ('{"slots": "x"}', "slots")],
)
def test_a_file_that_is_none_of_settings_is_refused(tmp_path, text, said):
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        _worker.settings_of(options_of("--settings", str(path)))


def test_the_credential_beside_the_connection_file_is_used(tmp_path):
    file = tmp_path / "run.json"
    options = options_of()
    options.connection_file = str(file)
    assert _worker.credential_of(options, "run.json.client.pem") == ""
    beside = tmp_path / "run.json.worker.pem"
    beside.touch()
    assert _worker.credential_of(options, "run.json.client.pem") == str(beside)
    assert _worker.credential_of(options, "") == ""
    options.credential = "mine"
    assert _worker.credential_of(options, "") == "mine"


def test_an_entry_is_known_by_number_key_and_name():
    entry = _logs.Entry(
        task=(0x1F << 40) + 12, name="f", attempt=3, stream=1, file="a", offset=0, length=0
    )
    assert all(entry.is_of(text) for text in ("12", "f", "f-1f-12", str((0x1F << 40) + 12)))
    assert not any(entry.is_of(text) for text in ("1", "g", "f-1-12"))
