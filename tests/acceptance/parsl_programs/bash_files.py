"""Bash apps that read and write files which flow between them."""

import os

import parsl
from parsl import bash_app, python_app
from parsl.data_provider.files import File


@bash_app
def generate(count, outputs=()):
    return f"seq 1 {count} > {outputs[0]}"


@bash_app
def concatenate(inputs=(), outputs=(), stdout=parsl.AUTO_LOGNAME, stderr=parsl.AUTO_LOGNAME):
    return "cat {} > {}".format(" ".join(i.filepath for i in inputs), outputs[0].filepath)


@python_app
def total(inputs=()):
    with open(inputs[0]) as f:
        return sum(int(line) for line in f)


with parsl.load():
    here = os.getcwd()
    parts = [generate(n, outputs=[File(os.path.join(here, f"part-{n}.txt"))]) for n in range(1, 6)]
    assert all(len(p.outputs) == 1 for p in parts)
    whole = concatenate(
        inputs=[p.outputs[0] for p in parts], outputs=[File(os.path.join(here, "all.txt"))]
    )
    answer = total(inputs=[whole.outputs[0]])
    assert answer.result() == sum(sum(range(1, n + 1)) for n in range(1, 6))

    data = whole.outputs[0]
    assert data.done()
    assert isinstance(data.result(), File)
    assert data.filepath == os.path.join(here, "all.txt")
    assert data.filename == data.filepath
    assert data.tid == whole.tid
    assert data.result().filename == "all.txt"
    assert os.path.exists(data.result())
    assert os.path.exists(whole.stdout)
    assert os.path.exists(whole.stderr)
print("OK")
