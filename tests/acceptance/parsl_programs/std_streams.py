"""Where the output of Bash apps goes: names, modes, automatic names, Files."""

import os
import pathlib

import parsl
from parsl import AUTO_LOGNAME, File, bash_app
from parsl.config import Config


@bash_app
def say(word, stdout=None, stderr=None, label=""):
    return f"echo {word}; echo {word} problem >&2"


with parsl.load(Config(run_dir="runs")) as kernel:
    for word in ("one", "two"):
        say(word, stdout="appended.txt", stderr="errors.txt").result()
    with open("appended.txt") as f:
        assert f.read() == "one\ntwo\n", "a bare name is appended to"
    with open("errors.txt") as f:
        assert "two problem" in f.read()

    for word in ("one", "two"):
        say(word, stdout=("written.txt", "w")).result()
    with open("written.txt") as f:
        assert f.read() == "two\n"

    say("deep", stdout=pathlib.Path("new/folder/out.txt")).result()
    assert pathlib.Path("new/folder/out.txt").read_text() == "deep\n"

    future = say("auto", stdout=AUTO_LOGNAME, stderr=AUTO_LOGNAME, label="mylabel")
    future.result()
    assert "mylabel" in os.path.basename(future.stdout)
    assert "say" in os.path.basename(future.stdout)
    assert f"{future.tid:04}" in os.path.basename(future.stdout)
    assert os.path.abspath(future.stdout).startswith(os.path.abspath(kernel.run_dir))
    with open(future.stdout) as f:
        assert f.read() == "auto\n"
    assert future.stdout != future.stderr

    target = File(os.path.abspath("as-file.txt"))
    future = say("filed", stdout=target)
    future.result()
    with open(future.stdout.result().filepath) as f:
        assert f.read() == "filed\n"


def path_of(task_record, kind):
    return f"{task_record['func_name']}-{task_record['id']}.{kind}"


with parsl.load(Config(std_autopath=path_of)):
    future = say("own", stdout=AUTO_LOGNAME)
    future.result()
    assert os.path.basename(future.stdout) == f"say-{future.tid}.stdout"
    assert os.path.exists(future.stdout)
print("OK")
