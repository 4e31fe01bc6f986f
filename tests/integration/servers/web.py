"""A web server with good and bad manners."""

from __future__ import annotations

import base64
import shutil
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.integration.servers import absent

#: What the server has under /files/.
BODY = bytes(range(256)) * 8192
_ALLOWED = "Basic " + base64.b64encode(b"us er:se:cret").decode()


@dataclass
class Web:
    """A running server."""

    url: str
    #: Path and Authorization header of each request.
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    #: Where /elsewhere redirects to.
    other: str = ""
    #: Set to let /stall end.
    release: threading.Event = field(default_factory=threading.Event)

    @property
    def netloc(self) -> str:
        return self.url.removeprefix("http://")


def self_signed(directory: Path) -> ssl.SSLContext:
    """Make a certificate for 127.0.0.1, `cert.pem`, that nobody trusts who is not told to."""
    if shutil.which("openssl") is None:
        absent("openssl", "install the package openssl of your system")
    cert, key = directory / "cert.pem", directory / "key.pem"
    line = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext"
    # Newer Pythons are strict: what signs, even itself, has to say that it may.
    line += " keyUsage=critical,digitalSignature,keyCertSign -addext"
    files = ["subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run([*line.split(), *files], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


@contextmanager
def web_server(tls: ssl.SSLContext | None = None) -> Iterator[Web]:
    """Serve until the block ends."""
    web = Web("")

    class Handler(_Handler):
        server_state = web

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    web.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), name="web-server")
    thread.start()
    try:
        yield web
    finally:
        web.release.set()
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: Web

    def do_GET(self) -> None:
        state = self.server_state
        state.requests.append((self.path, self.headers.get("Authorization")))
        kind = self.path.split("?")[0].split("/")[1]
        if kind == "files":
            self._send(200, BODY)
        elif kind == "private" and self.headers.get("Authorization") == _ALLOWED:
            self._send(200, b"private")
        elif kind == "private":
            self._send(401, b"who are you?", {"WWW-Authenticate": 'Basic realm="t"'})
        elif kind == "moved":
            self._send(302, b"", {"Location": "/files/x.bin"})
        elif kind == "elsewhere":
            self._send(302, b"", {"Location": f"{state.other}/files/x.bin"})
        elif kind == "loop":
            self._send(302, b"", {"Location": self.path})
        elif kind == "empty":
            self._send(200, b"")
        elif kind == "truncated":
            self._break_off({"Content-Length": str(len(BODY))}, BODY[:1000])
        elif kind == "truncated-chunks":
            self._break_off({"Transfer-Encoding": "chunked"}, b"400\r\n" + BODY[:1000])
        elif kind == "stall":
            self._break_off({"Content-Length": str(len(BODY))}, BODY[:1000], wait=True)
        elif kind == "broken":
            self._send(500, b"oops")
        else:
            self._send(404, b"not here")

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _break_off(self, headers: dict[str, str], body: bytes, *, wait: bool = False) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if wait:
            self.server_state.release.wait(15)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
