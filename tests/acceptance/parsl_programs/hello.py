"""The first minute: one Python app, one Bash app, one configuration."""

import parsl
from parsl import bash_app, python_app
from parsl.config import Config
from parsl.executors import ThreadPoolExecutor


@python_app
def hello(name="world"):
    return f"Hello {name}"


@bash_app
def echo_hello(name, stdout="hello.out", stderr="hello.err"):
    return f'echo "Hello {name} from the shell"'


@python_app()
def with_parentheses(*words, separator=" "):
    import string

    return separator.join(word.strip(string.punctuation) for word in words)


config = Config(executors=[ThreadPoolExecutor(label="local", max_threads=4)], run_dir="rundir")

if __name__ == "__main__":
    with parsl.load(config) as kernel:
        assert parsl.dfk() is kernel
        future = hello("Parsl")
        assert future.result() == "Hello Parsl"
        assert future.done()
        assert future.exception() is None
        assert hello().result() == "Hello world"

        assert echo_hello("Parsl").result() == 0
        with open("hello.out") as f:
            assert f.read() == "Hello Parsl from the shell\n"

        assert with_parentheses("a!", "b", separator="-").result(timeout=30) == "a-b"
        assert hello.__name__ == "hello"
        assert isinstance(future.tid, int)
    print("OK")
