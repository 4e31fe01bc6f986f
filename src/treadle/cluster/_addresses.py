"""Addresses: where this machine is to be reached, and where a process listens.

A machine has many, and none of them need lead to it from everywhere. So all that may are named,
and who wants to reach it tries them all.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from treadle.errors import ConfigurationError

#: Most that a process says of itself.
_MOST: Final = 64
_TLS = re.compile(r"tls://(?:\[(?P<six>[^\]\s]+)\]|(?P<host>[^:/\s\[\]]+)):(?P<port>\d{1,5})")
#: A peer whose machine is gone is noticed after about so long without a packet of it.
_IDLE_S, _EVERY_S, _TIMES = 15, 5, 3
#: And this long if it leaves unanswered what was sent to it.
_UNANSWERED_S = 30


def tls_address(host: str, port: int) -> str:
    """'tls://HOST:PORT'."""
    return f"tls://[{host}]:{port}" if ":" in host else f"tls://{host}:{port}"


def host_and_port(address: str) -> tuple[str, int]:
    """What `tls_address` joined.

    Raises:
        ValueError: it is none.
    """
    found = _TLS.fullmatch(address)
    if found is None or not 0 < int(found["port"]) < 2**16:
        raise ValueError("it is no address: 'unix:PATH' or 'tls://HOST:PORT' is")
    return found["six"] or found["host"], int(found["port"])


def candidates(interface: str = "", hosts: Sequence[str] = ()) -> list[str]:
    """Under what names or numbers others may reach this machine, those of loopback last.

    Args:
        interface: its addresses alone.
        hosts: what the user says; it is taken as it is.

    Raises:
        ConfigurationError: there is no such interface, or it has no address.
    """
    if hosts:
        return list(dict.fromkeys(hosts))[:_MOST]
    found = [
        address
        for name, addresses in _interfaces().items()
        if not interface or name == interface
        for address in addresses
        # Of a link's own addresses each machine sees them under other names.
        if not address.is_link_local
    ]
    if interface and not found:
        known = ", ".join(sorted(name for name, has in _interfaces().items() if has))
        raise ConfigurationError(
            f"interface={interface!r} has no address on this machine; those that have: {known}"
        )
    found.sort(key=lambda address: (address.is_loopback, address.version))
    return [str(address) for address in dict.fromkeys(found)][:_MOST]


def bind(interface: str, ports: tuple[int, int]) -> tuple[int, list[socket.socket]]:
    """Sockets to listen on, all at one port; the first in the range that is free.

    Args:
        interface: at its addresses alone; '': at all there are.
        ports: the first and the last; (0, 0): any.

    Raises:
        ConfigurationError: none is free, or there are none; the text says who has them.
    """
    first, last = ports
    if not 0 <= first <= last < 2**16 or (first == 0) != (last == 0):
        raise ConfigurationError(
            f"port_range={ports!r}: two numbers from 1 to 65535 are needed, the smaller first"
        )
    hosts = candidates(interface) if interface else [""]
    reasons: dict[int, OSError] = {}
    for port in range(first, last + 1):
        try:
            return _bind_all(hosts, port)
        except OSError as error:
            if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                raise ConfigurationError(
                    f"nothing can be listened to at {interface or 'this machine'}: {error.strerror}"
                ) from error
            reasons[port] = error
    raise ConfigurationError(
        f"no port from {first} to {last} is free ({_holders(reasons)}); give a wider port_range"
    )


def keep_alive(sock: socket.socket) -> None:
    """Have the system notice when the other machine is gone; send what is small at once."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", _IDLE_S),
        ("TCP_KEEPINTVL", _EVERY_S),
        ("TCP_KEEPCNT", _TIMES),
        ("TCP_USER_TIMEOUT", _UNANSWERED_S * 1_000),
    ):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


# --- details -----------------------------------------------------------------------------------

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def _interfaces() -> dict[str, list[Ip]]:
    """The addresses of each interface that is up."""
    import psutil  # noqa: PLC0415 - 20 ms, and only who listens on a network needs it

    states = psutil.net_if_stats()
    return {
        name: [
            ipaddress.ip_address(each.address.partition("%")[0])
            for each in found
            if each.family in (socket.AF_INET, socket.AF_INET6)
        ]
        for name, found in psutil.net_if_addrs().items()
        if name not in states or states[name].isup
    }


def _bind_all(hosts: list[str], port: int) -> tuple[int, list[socket.socket]]:
    socks: list[socket.socket] = []
    try:
        for host in hosts:
            sock = _bind_one(host, port)
            socks.append(sock)
            port = sock.getsockname()[1]
    except BaseException:
        for sock in socks:
            sock.close()
        raise
    return port, socks


def _bind_one(host: str, port: int) -> socket.socket:
    """A socket at this address; at '' one for both versions of IP, where there are both."""
    both = not host and socket.has_dualstack_ipv6()
    sock = socket.socket(socket.AF_INET6 if both or ":" in host else socket.AF_INET)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _holders(reasons: dict[int, OSError]) -> str:
    """Why the first few of these ports cannot be taken, and who has them."""
    import psutil  # noqa: PLC0415 - as above

    pids: dict[int, int | None] = {}
    with suppress(psutil.Error, OSError):
        for each in psutil.net_connections(kind="tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr.port in reasons:
                pids[each.laddr.port] = each.pid
    said = []
    for port in list(reasons)[:3]:
        pid = pids.get(port)
        said.append(f"{port}: {reasons[port].strerror}" + (f" by process {pid}" if pid else ""))
    more = len(reasons) - len(said)
    return "; ".join(said) + (f"; and {more} more" if more else "")
