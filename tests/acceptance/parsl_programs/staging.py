"""Files from a web server and from the local disk, staged by default and by chosen providers."""

import functools
import http.server
import os
import threading

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.data_provider.data_manager import default_staging
from parsl.data_provider.file_noop import NoOpFileStaging
from parsl.data_provider.files import File
from parsl.data_provider.http import HTTPInTaskStaging, HTTPSeparateTaskStaging
from parsl.executors import ThreadPoolExecutor


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


os.makedirs("www")
with open("www/numbers.txt", "w") as f:
    f.write("3\n1\n2\n")
handler = functools.partial(Quiet, directory="www")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/numbers.txt"

assert any(isinstance(s, NoOpFileStaging) for s in default_staging)


@python_app
def sort_numbers(inputs=(), outputs=()):
    with open(inputs[0].filepath) as f:
        lines = sorted(f)
    with open(outputs[0].filepath, "w") as f:
        f.writelines(lines)
    return len(lines)


def run(name, executor):
    with parsl.load(Config(executors=[executor])):
        remote = File(url)
        local = File(os.path.join(os.getcwd(), f"sorted-{name}.txt"))
        future = sort_numbers(inputs=[remote], outputs=[local])
        assert future.result() == 3
        with open(future.outputs[0].result().filepath) as f:
            assert f.read() == "1\n2\n3\n"
        assert remote.local_path is None, "the caller's File is not touched"


run("default", ThreadPoolExecutor(working_dir="work-default"))
run(
    "separate",
    ThreadPoolExecutor(
        working_dir="work-separate", storage_access=[NoOpFileStaging(), HTTPSeparateTaskStaging()]
    ),
)
run(
    "in-task",
    ThreadPoolExecutor(
        working_dir="work-in-task", storage_access=[HTTPInTaskStaging(), NoOpFileStaging()]
    ),
)
server.shutdown()

file = File("http://example.org/data/set.csv")
assert (file.scheme, file.netloc, file.filename) == ("http", "example.org", "set.csv")
assert File("file:///tmp/x.txt").filepath == "/tmp/x.txt"
assert File("/tmp/y.txt").scheme == "file"
print("OK")
