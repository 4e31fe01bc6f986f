"""Logging in to Globus, once, and making a client from what was kept.

Treadle has no registration of its own with Globus: make one of the kind "thick client" at
https://app.globus.org/settings/developers and give its client id to `login`. Kept are a refresh
token and the client id, in a file that only its owner can read.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from typing import Any, Protocol

from treadle.data_provider.atomic import atomic_path
from treadle.errors import OptionalModuleMissing, StagingError

DEFAULT_TOKEN_FILE = "~/.treadle/globus.json"
_RESOURCE_SERVER = "transfer.api.globus.org"
_SCOPE = "urn:globus:auth:scope:transfer.api.globus.org:all"


class TransferClient(Protocol):
    """The methods of `globus_sdk.TransferClient` that are used."""

    def submit_transfer(self, data: dict[str, Any]) -> Any:
        """Start a transfer; the answer has a `task_id`."""

    def task_wait(self, task_id: str, *, timeout: int, polling_interval: int) -> bool:
        """Wait for a transfer; return whether it is over."""

    def get_task(self, task_id: str) -> Any:
        """Return a transfer's document."""

    def cancel_task(self, task_id: str) -> Any:
        """Cancel a transfer."""

    def operation_rename(self, endpoint_id: str, oldpath: str, newpath: str) -> Any:
        """Rename a file."""


def login(
    client_id: str,
    token_file: str | os.PathLike[str] = DEFAULT_TOKEN_FILE,
    *,
    ask: Callable[[str], str] = input,
    sdk: Any = None,
) -> str:
    """Log in by a browser and keep the token; return the path of the file.

    Args:
        client_id: of your registration with Globus.
        token_file: where to keep it; made with mode 0600.
        ask: shows the text, which has the address to visit, and returns the code given there.
        sdk: used instead of `globus_sdk`.
    """
    auth = (sdk or _sdk()).NativeAppAuthClient(client_id)
    auth.oauth2_start_flow(requested_scopes=_SCOPE, refresh_tokens=True)
    url = auth.oauth2_get_authorize_url()
    code = ask(f"Visit {url}\nand enter the code shown there: ").strip()
    tokens = auth.oauth2_exchange_code_for_tokens(code).by_resource_server[_RESOURCE_SERVER]
    kept = {"client_id": client_id, "refresh_token": tokens["refresh_token"]}
    path = os.path.expanduser(os.fspath(token_file))
    os.makedirs(os.path.dirname(path) or ".", mode=0o700, exist_ok=True)
    with atomic_path(path) as temporary:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w") as out:
            json.dump(kept, out)
    return path


def client(token_file: str | os.PathLike[str] = DEFAULT_TOKEN_FILE, *, sdk: Any = None) -> Any:
    """Return a `globus_sdk.TransferClient` that renews its access by the kept token.

    Raises:
        StagingError: nobody has logged in, or others could have read the token.
        OptionalModuleMissing: globus-sdk is not installed.
    """
    used = sdk or _sdk()
    path = os.path.expanduser(os.fspath(token_file))
    try:
        with open(path) as opened:
            if os.fstat(opened.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise StagingError(
                    f"{path} can be read by others, so its token is not used; revoke it at "
                    "https://app.globus.org/settings/consents, remove the file and log in again"
                )
            kept = json.load(opened)
        client_id, token = kept["client_id"], kept["refresh_token"]
    except FileNotFoundError:
        raise StagingError(
            f"no Globus token in {path}; log in once with "
            "python -m treadle.data_provider.globus CLIENT_ID"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise StagingError(f"{path} is not a token file; log in again ({error!r})") from None
    auth = used.NativeAppAuthClient(client_id)
    return used.TransferClient(authorizer=used.RefreshTokenAuthorizer(token, auth))


def _sdk() -> Any:
    try:
        # Optional, and heavy.
        import globus_sdk  # noqa: PLC0415
    except ImportError:
        raise OptionalModuleMissing(["globus-sdk"], "Globus staging", extra="globus") from None
    return globus_sdk
