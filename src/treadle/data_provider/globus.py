"""Files on Globus collections, moved by the Globus service. Extra: `globus`.

Log in once with `python -m treadle.data_provider.globus CLIENT_ID`; see `_globus_login`.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from treadle.data_provider._globus_login import DEFAULT_TOKEN_FILE, TransferClient, client, login
from treadle.data_provider._globus_transfer import GlobusTransfer, Mapping
from treadle.data_provider._transfer import SeparateTask, Transfer
from treadle.repr import RepresentationMixin

if TYPE_CHECKING:
    from treadle.data_provider.files import File

__all__ = ["GlobusStaging", "client", "login"]


class GlobusStaging(SeparateTask, RepresentationMixin):
    """Moves `globus://COLLECTION_ID/path` files to and from a collection that the tasks see.

    Each transfer is a task on the engine's own threads, which waits for the service.

    Args:
        endpoint_uuid: the collection beside the executor.
        endpoint_path: a directory as that collection names it.
        local_path: the same directory as the tasks name it. The executor's `working_dir` has to
            lie in it. Both are left out when the two names are equal.
        token_file: what `login` wrote.
        timeout_s: how long one transfer may take; it is cancelled after that.
        transfer_client: used instead of one made from `token_file`.
    """

    schemes = ("globus",)

    def __init__(
        self,
        endpoint_uuid: str,
        endpoint_path: str | None = None,
        local_path: str | None = None,
        *,
        token_file: str | os.PathLike[str] = DEFAULT_TOKEN_FILE,
        timeout_s: float = 24 * 3600,
        transfer_client: TransferClient | None = None,
    ) -> None:
        if (endpoint_path is None) != (local_path is None):
            raise ValueError(
                "endpoint_path and local_path name one directory in two ways: give both or none, "
                f"not endpoint_path={endpoint_path!r}, local_path={local_path!r}"
            )
        self.endpoint_uuid = endpoint_uuid
        self.endpoint_path = endpoint_path
        self.local_path = local_path
        self.token_file = os.path.expanduser(os.fspath(token_file))
        self.timeout_s = timeout_s
        self.transfer_client = transfer_client

    def can_stage_in(self, file: File) -> bool:
        """Return whether it is a globus URL."""
        return file.scheme == "globus"

    def can_stage_out(self, file: File) -> bool:
        """Return whether it is a globus URL."""
        return file.scheme == "globus"

    def _transfer(self, file: File) -> Transfer:
        where = Mapping(self.endpoint_uuid, self.endpoint_path, self.local_path)
        return GlobusTransfer(self.token_file, where, self.timeout_s, given=self.transfer_client)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m treadle.data_provider.globus CLIENT_ID")
    sys.stdout.write(f"kept the token in {login(sys.argv[1])}\n")
