"""How a file is read from a web server. Imported when first used: it brings ssl and email."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

from treadle.data_provider._authority import authority_of
from treadle.data_provider.files import File, without_password
from treadle.errors import StagingError

if TYPE_CHECKING:
    from http.client import HTTPResponse

_CHUNK_BYTES = 1 << 20
#: What may stand in a URL as it is; `%` is there because the URL may be encoded already.
_SAFE = "%/:=&?~#+!$,;'@()*[]"


@dataclass(frozen=True)
class HTTPTransfer:
    """GET by the standard library: redirects, proxies of the environment, checked certificates."""

    timeout_s: float

    def fetch(self, file: File, target: str) -> None:
        """Stream the body to `target`; fewer bytes than announced are an error."""
        try:
            with urlopen(_request(file), timeout=self.timeout_s) as opened:
                _save(cast("HTTPResponse", opened), target)
        except HTTPError as error:
            # Not chained: the error holds an open socket and cannot travel between processes.
            reason = f"HTTP {error.code} {error.reason}"
            error.close()
        else:
            return
        hint = "; put user:password@ before the host" if "HTTP 401" in reason else ""
        raise StagingError(f"cannot stage in {without_password(file.url)}: {reason}{hint}")

    def store(self, source: str, file: File) -> None:
        """Refuse: there is no one way to write to a web server."""
        raise StagingError(f"cannot stage out to {without_password(file.url)}: HTTP is read only")


def _request(file: File) -> Request:
    authority = authority_of(file.netloc)
    rest = file.url.partition("://")[2].removeprefix(file.netloc)
    host = file.netloc.rpartition("@")[2]
    request = Request(f"{file.scheme}://{host}{quote(rest, safe=_SAFE)}")
    if authority.user is None:
        return request
    secret = f"{authority.user}:{authority.password or ''}".encode()
    # Not sent along when the server redirects to another one.
    request.add_unredirected_header(
        "Authorization", "Basic " + base64.b64encode(secret).decode("ascii")
    )
    return request


def _save(response: HTTPResponse, target: str) -> None:
    # Asked first: http.client counts it down, and ends quietly when a body is cut short.
    expected = response.length
    received = 0
    with open(target, "wb") as out:
        while chunk := response.read(_CHUNK_BYTES):
            received += out.write(chunk)
    if expected is not None and received != expected:
        raise ConnectionError(f"the body ended after {received} of {expected} bytes")
