"""A staging provider of one's own, in separate tasks and in the task."""

import os

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.data_provider.file_noop import NoOpFileStaging
from parsl.data_provider.files import File
from parsl.data_provider.staging import Staging
from parsl.executors import ThreadPoolExecutor

STORE = {"greeting": "hello from the store\n"}
WORK = os.path.abspath("work")


class StoreStaging(Staging):
    """Files of the scheme `store:` live in a dict; they are fetched inside the task."""

    def can_stage_in(self, file):
        return file.scheme == "store"

    def can_stage_out(self, file):
        return file.scheme == "store"

    def stage_in(self, dm, executor, file, parent_fut):
        file.local_path = os.path.join(WORK, os.path.basename(file.path))
        return None

    def replace_task(self, dm, executor, file, func):
        def fetch_first(*args, **kwargs):
            os.makedirs(os.path.dirname(file.local_path), exist_ok=True)
            with open(file.local_path, "w") as f:
                f.write(STORE[os.path.basename(file.path)])
            return func(*args, **kwargs)

        return fetch_first

    def stage_out(self, dm, executor, file, app_fu):
        os.makedirs(WORK, exist_ok=True)
        file.local_path = os.path.join(WORK, os.path.basename(file.path))
        return None

    def replace_task_stage_out(self, dm, executor, file, func):
        def store_after(*args, **kwargs):
            result = func(*args, **kwargs)
            with open(file.local_path) as f:
                STORE[os.path.basename(file.path)] = f.read()
            return result

        return store_after


@python_app
def shout(inputs=(), outputs=()):
    with open(inputs[0]) as source, open(outputs[0], "w") as target:
        target.write(source.read().upper())


executor = ThreadPoolExecutor(storage_access=[StoreStaging(), NoOpFileStaging()])
with parsl.load(Config(executors=[executor])):
    future = shout(inputs=[File("store:/greeting")], outputs=[File("store:/answer")])
    future.result()
    future.outputs[0].result()
    assert STORE["answer"] == "HELLO FROM THE STORE\n"
print("OK")
