"""An FTP server over a directory."""

from __future__ import annotations

import importlib.util
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.servers import absent


@dataclass
class Ftp:
    """A running server: `url` is anonymous and may only read, `user_url` may write."""

    url: str
    user_url: str
    #: Switches: "no-size" (SIZE unknown), "break" (data connections end half way), "cheat" (they
    #: do and it is not told), "refuse-rename-over" (RNTO over a file fails), "refuse-upload".
    manners: set[str] = field(default_factory=set)


@contextmanager
def ftp_server(root: Path) -> Iterator[Ftp]:
    """Serve `root` until the block ends."""
    if importlib.util.find_spec("pyftpdlib") is None:
        absent("pyftpdlib", "pip install pyftpdlib")
    from pyftpdlib.authorizers import DummyAuthorizer
    from pyftpdlib.servers import FTPServer

    logging.getLogger("pyftpdlib").setLevel(logging.CRITICAL)
    authorizer = DummyAuthorizer()
    authorizer.add_user("user", "se@cret", str(root), perm="elradfmwMT")
    authorizer.add_anonymous(str(root))
    manners: set[str] = set()
    server = FTPServer(("127.0.0.1", 0), _handler(authorizer, manners))
    host = f"127.0.0.1:{server.socket.getsockname()[1]}"
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            server.serve_forever(timeout=0.02, blocking=False, handle_exit=False)
        server.close_all()
        server.ioloop.close()

    thread = threading.Thread(target=serve, name="ftp-server")
    thread.start()
    try:
        yield Ftp(f"ftp://{host}", f"ftp://user:se%40cret@{host}", manners)
    finally:
        stop.set()
        thread.join()


def _handler(authorizer: Any, manners: set[str]) -> Any:
    from pyftpdlib.handlers import DTPHandler, FTPHandler

    class Data(DTPHandler):
        def send(self, data: bytes) -> int:
            if not manners & {"break", "cheat"}:
                return super().send(data)
            sent = super().send(data[: len(data) // 2])
            said = "426 Connection lost." if "break" in manners else "226 All is well."
            self.cmd_channel.respond(said)
            self.close()
            return sent

    class Handler(FTPHandler):
        dtp_handler = Data
        use_sendfile = False

        def ftp_SIZE(self, path: str) -> Any:
            if "no-size" in manners:
                return self.respond("550 SIZE is not known here.")
            return super().ftp_SIZE(path)

        def ftp_RNTO(self, path: str) -> Any:
            if "refuse-rename-over" in manners and Path(path).exists():
                return self.respond("553 It exists.")
            return super().ftp_RNTO(path)

        def ftp_STOR(self, file: str, mode: str = "w") -> Any:
            if "refuse-upload" in manners:
                return self.respond("552 The disk is full.")
            return super().ftp_STOR(file, mode)

    Handler.authorizer = authorizer
    Handler.auth_failed_timeout = 0.05
    return Handler
