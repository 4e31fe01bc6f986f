"""Addresses: what a machine says of itself, and the ports it listens at."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections import namedtuple

import psutil
import pytest

from treadle.cluster._addresses import bind, candidates, host_and_port, keep_alive, tls_address
from treadle.errors import ConfigurationError

Nic = namedtuple("Nic", "family address")
State = namedtuple("State", "isup")


@pytest.fixture
def machine(monkeypatch):
    """Two networks, one of them also of version 6 alone, one that is down."""
    nics = {
        "lo": [Nic(socket.AF_INET, "127.0.0.1"), Nic(socket.AF_INET6, "::1")],
        "eth0": [
            Nic(socket.AF_PACKET, "02:fc:00:00:00:01"),
            Nic(socket.AF_INET, "10.0.0.5"),
            Nic(socket.AF_INET6, "fe80::1%eth0"),
        ],
        "ib0": [Nic(socket.AF_INET6, "fd00::7")],
        "down": [Nic(socket.AF_INET, "10.9.9.9")],
        "bare": [],
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: nics)
    monkeypatch.setattr(
        psutil, "net_if_stats", lambda: {name: State(name != "down") for name in nics}
    )


def test_all_that_may_lead_here_are_named_those_of_loopback_last(machine):
    assert candidates() == ["10.0.0.5", "fd00::7", "127.0.0.1", "::1"]


def test_an_interface_that_was_asked_for_is_the_only_one(machine):
    assert candidates("ib0") == ["fd00::7"]
    assert candidates("lo") == ["127.0.0.1", "::1"]


@pytest.mark.parametrize("name", ["eth9", "down", "bare"])
def test_an_interface_without_an_address_is_an_error_that_names_the_others(machine, name):
    with pytest.raises(ConfigurationError, match=rf"interface='{name}'.*eth0, ib0, lo"):
        candidates(name)


def test_what_the_user_says_is_taken_as_it_is(machine):
    assert candidates("eth0", ["gate.example", "10.1.1.1", "gate.example"]) == [
        "gate.example",
        "10.1.1.1",
    ]


def test_this_machine_has_an_address():
    found = candidates()
    assert found
    assert all(ipaddress.ip_address(each) for each in found)


@pytest.mark.parametrize("host", ["10.0.0.5", "::1", "fd00::7", "node-7.cluster"])
def test_an_address_can_be_taken_apart_again(host):
    assert host_and_port(tls_address(host, 4711)) == (host, 4711)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "x",
        "tls://",
        "tls://h",
        "tls://h:",
        "tls://h:0",
        "tls://h:65536",
        "tls://h:-1",
        "tls://::1:5",
        "tls://[::1]",
        "tls://a b:5",
        "tls://h:5/",
        "http://h:5",
        "tls://[]:5",
    ],
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ValueError, match="it is no address"):
        host_and_port(address)


def test_a_port_is_chosen_where_any_will_do():
    port, socks = bind("", (0, 0))
    assert port > 0
    assert {sock.getsockname()[1] for sock in socks} == {port}
    for sock in socks:
        sock.close()


def test_both_versions_of_ip_lead_to_it():
    port, socks = bind("", (0, 0))
    for sock in socks:
        sock.listen()
    for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        if family == socket.AF_INET6 and not socket.has_dualstack_ipv6():
            continue
        with socket.socket(family) as sock:
            sock.connect((host, port))
    for sock in socks:
        sock.close()


def test_an_interface_is_listened_at_alone_and_all_of_it_at_one_port():
    port, socks = bind("lo", (0, 0))
    names = [sock.getsockname() for sock in socks]
    assert {name[1] for name in names} == {port}
    assert all(ipaddress.ip_address(name[0]).is_loopback for name in names)
    for sock in socks:
        sock.close()


def test_of_a_range_the_first_that_is_free_is_taken():
    taken, socks = bind("", (0, 0))
    for sock in socks:
        sock.listen()
    last = min(taken + 50, 65_535)
    if last == taken:
        pytest.skip("the last port there is")
    port, more = bind("", (taken, last))
    assert taken < port <= last
    for sock in socks + more:
        sock.close()


def test_a_range_without_a_free_port_is_an_error_that_says_who_has_it():
    taken, socks = bind("", (0, 0))
    for sock in socks:
        sock.listen()
    with pytest.raises(
        ConfigurationError, match=rf"{taken}: Address already in use by process {os.getpid()}\)"
    ):
        bind("", (taken, taken))
    for sock in socks:
        sock.close()


@pytest.mark.parametrize("ports", [(5, 4), (-1, 5), (0, 5), (1, 65_536), (5, 0)])
def test_a_range_that_is_none_is_refused(ports):
    with pytest.raises(ConfigurationError, match="two numbers from 1 to 65535"):
        bind("", ports)


def test_a_silent_peer_is_noticed_by_the_system():
    with socket.socket() as sock:
        keep_alive(sock)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
