"""Where a client's scheduler is: somebody else's, or one that it starts."""

from __future__ import annotations

import os
import re
import secrets
import socket
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from treadle.cluster._connection import Connection, read_connection
from treadle.cluster._homes import DialledHome, Home, NodeHome
from treadle.cluster._options import (
    DEFAULTS,
    check_options,
    check_platform,
    node_settings,
    slots_here,
    worker_settings,
)
from treadle.cluster._security import Identity
from treadle.errors import ConfigurationError

if TYPE_CHECKING:
    from treadle.cluster._settings import NodeSettings

#: What a scheduler's connection file is called in its directory.
CONNECTION_FILE = "connection.json"
_HOST_PORT = re.compile(r"[A-Za-z0-9_.-]+:[0-9]+")


def home_at(
    address: Any, options: Mapping[str, Any], credential: str | os.PathLike[str] | None = None
) -> Home:
    """The scheduler at an address: a connection file, a directory with one, 'unix:PATH',
    'tls://HOST:PORT' with a credential, or a `ClusterExecutor` that runs.

    Raises:
        ConfigurationError: there is none, or it cannot be known which.
    """
    check_platform("Client")
    if isinstance(address, NodeHome | DialledHome):
        return address
    directory = _directory_of(address)
    path = os.fspath(address) if directory is None else directory
    if options:
        raise ConfigurationError(
            f"Client({path!r}): {', '.join(sorted(options))}: these are options of a "
            f"cluster that the client starts; this one runs already"
        )
    if path.startswith("tls:"):
        return _elsewhere(path, credential)
    if path.startswith("tcp:") or _HOST_PORT.fullmatch(path):
        raise ConfigurationError(
            f"Client({path!r}): a scheduler is not reached without protection; give the path of its "
            f"connection file, 'unix:PATH', or 'tls://HOST:PORT' with credential=PATH"
        )
    path = path.removeprefix("unix:")
    if os.path.isdir(path):
        path = os.path.join(path, CONNECTION_FILE)
    elif not path.endswith(".json"):
        path = os.path.join(os.path.dirname(path), CONNECTION_FILE)
    connection = read_connection(path)
    if credential is not None:
        connection = replace(connection, credential=os.fspath(credential))
    return DialledHome(connection, _identity(connection))


def _directory_of(address: Any) -> str | None:
    """Where the connection file of an executor is; None if this is none.

    Raises:
        ConfigurationError: it does not run, or this is nothing that a scheduler can be reached by.
    """
    if isinstance(address, str | os.PathLike):
        return None
    find = getattr(address, "connection_file", None)
    if find is None:
        raise ConfigurationError(
            f"Client({address!r}): give a ClusterExecutor, the path of a connection file or of its "
            f"directory, 'unix:PATH' or 'tls://HOST:PORT'"
        )
    if not find:
        raise ConfigurationError(
            f"Client({address!r}): it does not run (yet); load the kernel that it belongs to first"
        )
    return str(find)


def _elsewhere(address: str, credential: str | os.PathLike[str] | None) -> Home:
    """A scheduler on another machine, which is known by its credential alone."""
    if credential is None:
        raise ConfigurationError(
            f"Client({address!r}): to reach another machine takes a credential; give "
            f"credential=PATH, or the path of the scheduler's connection file, which names one"
        )
    identity = Identity.read(os.fspath(credential))
    connection = Connection(
        run=identity.run, addresses=(address,), pid=0, host="", version="", credential=identity.path
    )
    return DialledHome(connection, identity)


def home_here(name: str, options: Mapping[str, Any]) -> Home:
    """A scheduler and a worker in a process of this program's own.

    Raises:
        ConfigurationError: an option has no meaning.
    """
    check_platform("Client")
    unknown = [key for key in options if key not in DEFAULTS]
    if unknown:
        hint = ""
        if "n_workers" in unknown or "threads_per_worker" in unknown:
            hint = "; say how many tasks run at once by slots=..., each has a process of its own"
        raise ConfigurationError(
            f"Client(): there is no option {', '.join(map(repr, unknown))}{hint}; there are: "
            f"{', '.join(DEFAULTS)}"
        )
    given = {**DEFAULTS, **options}
    check_options("Client", name, given)
    run = secrets.token_hex(8)
    return NodeHome(run, partial(_node, given, run, name), is_local=True)


def _node(options: Mapping[str, Any], run: str, owner: str, directory: str) -> NodeSettings:
    slots = slots_here(options["slots"], float(options["cores_per_slot"]))
    worker = worker_settings(
        options, id=f"local-{socket.gethostname()}"[:200], slots=slots, log_dir=directory
    )
    return node_settings(
        options,
        run=run,
        run_dir=directory,
        log_dir=directory,
        owner=owner,
        worker=worker,
        connection_file=os.path.join(directory, CONNECTION_FILE),
    )


def _identity(connection: Connection) -> Identity | None:
    return Identity.read(connection.credential) if connection.credential else None
