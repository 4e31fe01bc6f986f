"""A pipeline in which each step waits for the file of the step before."""

import os

import parsl
from parsl import File, bash_app, python_app
from parsl.app.futures import DataFuture

parsl.load()


@bash_app
def write(text, outputs=()):
    return f"echo {text} > {outputs[0]}"


@bash_app
def append(word, inputs=(), outputs=()):
    return f"(cat {inputs[0]}; echo {word}) > {outputs[0]}"


@python_app
def read(file):
    with open(file) as f:
        return f.read().split()


@python_app
def write_two(outputs=()):
    for i, file in enumerate(outputs):
        with open(file, "w") as f:
            f.write(str(i))


@bash_app
def broken(outputs=()):
    return "exit 3"


def at(name):
    return File(os.path.join(os.getcwd(), name))


step = write("0", outputs=[at("step-0.txt")])
for i in range(1, 8):
    previous = step.outputs[0]
    assert isinstance(previous, DataFuture)
    step = append(i, inputs=[previous], outputs=[at(f"step-{i}.txt")])
assert read(step.outputs[0]).result() == [str(i) for i in range(8)]

two = write_two(outputs=[at("a"), at("b")])
assert read(two.outputs[1]).result() == ["1"]
assert two.outputs[0].result().filename == "a"

bad = broken(outputs=[at("never")])
assert type(bad.outputs[0].exception()) is type(bad.exception())
assert read(bad.outputs[0]).exception() is not None

parsl.dfk().cleanup()
print("OK")
