"""How the Globus service is asked to move a file."""

from __future__ import annotations

import math
import os
import posixpath
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from treadle.data_provider._globus_login import client as make_client
from treadle.data_provider.atomic import temporary_name
from treadle.errors import StagingError

if TYPE_CHECKING:
    from treadle.data_provider._globus_login import TransferClient
    from treadle.data_provider.files import File

#: One question to the service waits so long; short, so that the time limit is kept.
_ASK_S = 60
_POLL_S = 10


@dataclass(frozen=True)
class Mapping:
    """A collection, and one directory as it and as the tasks name it."""

    endpoint: str
    endpoint_path: str | None
    local_path: str | None

    def path_of(self, path: str) -> str:
        """Return what the collection calls a local path.

        Raises:
            StagingError: the path is not in the directory.
        """
        path = os.path.abspath(path)
        if self.local_path is None or self.endpoint_path is None:
            return path
        inside = os.path.relpath(path, self.local_path)
        if inside == ".." or inside.startswith("../"):
            raise StagingError(
                f"{path} is not in local_path={self.local_path!r}, so collection "
                f"{self.endpoint} has no name for it; set the executor's working_dir to a "
                "directory in there"
            )
        return posixpath.join(self.endpoint_path, inside)


@dataclass(frozen=True)
class GlobusTransfer:
    """Submits a transfer of one file and waits until the service has done or given up."""

    token_file: str
    here: Mapping
    timeout_s: float
    #: Used instead of a client made from the token.
    given: TransferClient | None = None
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def fetch(self, file: File, target: str) -> None:
        """Have the service write the file to `target`."""
        where = self.here.path_of(target)
        self._move(self._client(), file.netloc, file.path, self.here.endpoint, where)

    def store(self, source: str, file: File) -> None:
        """Have the service write beside the file's name, and rename."""
        directory, name = posixpath.split(file.path)
        temporary = posixpath.join(directory, temporary_name(name))
        client, where = self._client(), self.here.path_of(source)
        self._move(client, self.here.endpoint, where, file.netloc, temporary)
        client.operation_rename(file.netloc, temporary, file.path)

    def _client(self) -> TransferClient:
        # Made here and not at the call of the app: it asks the service for access.
        return make_client(self.token_file) if self.given is None else self.given

    def _move(
        self,
        client: TransferClient,
        source: str,
        source_path: str,
        target: str,
        target_path: str,
    ) -> None:
        # The form of the service's own documents, so that no class of the library is needed.
        request: dict[str, Any] = {
            "DATA_TYPE": "transfer",
            "source_endpoint": source,
            "destination_endpoint": target,
            "label": "treadle",
            "verify_checksum": True,
            "DATA": [
                {
                    "DATA_TYPE": "transfer_item",
                    "source_path": source_path,
                    "destination_path": target_path,
                }
            ],
        }
        task_id = str(client.submit_transfer(request)["task_id"])
        deadline = self.clock() + self.timeout_s
        try:
            self._wait(client, task_id, deadline)
        except BaseException:
            with suppress(Exception):  # the first error is the one to tell
                client.cancel_task(task_id)
            raise
        status = client.get_task(task_id)
        if status["status"] != "SUCCEEDED":
            why = status.get("nice_status_details") or status.get("fatal_error") or "no details"
            raise StagingError(
                f"Globus transfer {task_id} from {source}:{source_path} to "
                f"{target}:{target_path} ended as {status['status']}: {why}"
            )

    def _wait(self, client: TransferClient, task_id: str, deadline: float) -> None:
        while True:
            left = deadline - self.clock()
            if left <= 0:
                raise StagingError(
                    f"Globus transfer {task_id} took longer than timeout_s={self.timeout_s:g} and "
                    "was cancelled"
                )
            wait_s = min(_ASK_S, max(1, math.ceil(left)))
            done = client.task_wait(task_id, timeout=wait_s, polling_interval=min(_POLL_S, wait_s))
            if done:
                return
