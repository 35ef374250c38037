"""Who takes part in a run: all come and agree, or all hear the same of what is wrong."""

import dataclasses
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from mdhr_jax.distributed import roll_call
from mdhr_jax.distributed.roll_call import Member
from tests.processes import free_port

FACTS = {"code": {"a.py": "12", "b.py": "34"}, "config": {"seed": 0, "train.epochs": 3}}


def member(process, processes, facts=None):
    return Member(process, processes, f"node{process}", FACTS if facts is None else facts)


@pytest.fixture
def address(monkeypatch):
    monkeypatch.setattr(roll_call, "_GRACE_SECONDS", 1.0)
    return f"127.0.0.1:{free_port()}"


def meet(address, members, seconds=20.0):
    """What each of them hears: nothing to go on."""

    def one(own):
        try:
            peers = roll_call.meet(own, address, seconds)
        except ValueError as error:
            return str(error)
        others = [process for process in range(own.processes) if process != own.process]
        assert sorted(peers) == ([0] if own.process else others)
        for number, peer in peers.items():
            assert peer.name == f"process {number} on node{number}"
            peer.connection.close()
        return ""

    with ThreadPoolExecutor(len(members)) as pool:
        return list(pool.map(one, members))


def told_alike(found):
    assert len(set(found)) == 1
    return found[0]


@pytest.mark.parametrize("processes", [2, 5])
def test_equal_processes_go_on_in_whatever_order_they_come(processes, address):
    members = [member(process, processes) for process in reversed(range(processes))]
    assert meet(address, members) == [""] * processes
    assert meet(address, members) == [""] * processes  # The port is free again.


def test_who_is_missing_is_told_to_all(address):
    found = told_alike(meet(address, [member(0, 4), member(2, 4)], seconds=3.0))
    assert found.startswith(
        f"2 of 4 processes came within 3 s to {address}; missing: 1, 3; there: process 0 "
    )
    assert "process 2 on node2. " in found
    assert "config.distributed.timeout" in found


def test_what_differs_is_told_to_all(address):
    config = {"seed": 1, "train.epochs": 3, "data.new": "x"}
    members = [
        member(0, 3),
        member(1, 3, FACTS | {"config": config}),
        member(2, 3, FACTS | {"code": {"a.py": "12", "b.py": "35", "c.py": "1"}}),
    ]
    assert told_alike(meet(address, members)).splitlines()[1:-1] == [
        '  process 1 on node1: config: data.new is "x", null on process 0; seed is 1, 0 on process 0',
        "  process 2 on node2: code: other code in b.py, c.py",
    ]


def test_processes_that_do_not_count_alike_are_told(address):
    found = told_alike(
        meet(address, [member(0, 3), member(1, 3), dataclasses.replace(member(1, 3), host="x")])
    )
    assert "do not count alike: process 1 on" in found
    assert "came and process 1 on" in found
    found = told_alike(meet(address, [member(0, 2), member(2, 3)]))
    assert "process 2 on node2 is one of 3, process 0 on node0 one of 2" in found
    assert "JAX_NUM_PROCESSES" in found


def test_nobody_at_the_address(address, monkeypatch):
    (found,) = meet(address, [member(1, 2)], seconds=0.5)
    assert found.startswith(
        f"process 1 on node1 of 2 found nobody at the coordinator's address {address} in 0.5 s"
    )
    assert "(Connection refused)" in found

    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    (found,) = meet("nowhere:9231", [member(1, 2)], seconds=0.5)
    assert "address nowhere:9231 in 0.5 s (Name or service not known)" in found


@pytest.mark.parametrize("said", [b"", b"\x00\x00\x06\x04\n", b"[]\n", b'"go on"\n', b"{}\n"])
def test_somebody_else_at_the_address(said, address):
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))) as server:

        def answer():
            connection, _ = server.accept()
            with connection:
                connection.recv(2**16)
                connection.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        (found,) = meet(address, [member(1, 2)])
        thread.join()
    assert ("something else than process 0" in found) or ("did not say whether" in found)
    assert address in found


def test_a_port_in_use(address):
    with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))):
        (found,) = meet(address, [member(0, 2)])
    assert f"process 0 on node0 cannot listen at the port of the coordinator's address {address}" in found
    assert "Address already in use" in found
    # On Slurm the port is that of the job's number unless it is set by this.
    assert "JAX_COORDINATOR_PORT" in found


def test_strangers_do_not_disturb(address):
    host, port = roll_call.split_address(address)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(meet, address, [member(0, 2)])
        strangers = []
        while len(strangers) < 3:
            try:
                strangers.append(socket.create_connection((host, port), timeout=1))
            except ConnectionRefusedError:
                time.sleep(0.05)
        strangers[0].sendall(b"GET / HTTP/1.1\r\n\r\n")
        strangers[1].sendall(b'{"greeting": "mdhr_jax roll call 1", "process": 1}\n')
        assert meet(address, [member(1, 2)]) == [""]
        assert first.result() == [""]
        for stranger in strangers:
            stranger.close()


def test_a_process_that_waits_in_vain_for_the_others_ends_too(address):
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(meet, address, [member(0, 3)], 6.0)
        (found,) = meet(address, [member(1, 3)], seconds=2.0)
        assert (
            found
            == f"process 1 on node1 of 3 found process 0 at {address} still waiting for others after 2 s"
        )
        assert "missing: 2" in first.result()[0]


def test_only_the_first_differences_are_listed():
    other = {"code": {f"{number}.py": "1" for number in range(9)}}
    (line,) = roll_call.compare([member(0, 2, {"code": {}}), member(1, 2, other)])
    assert line == ("process 1 on node1: code: other code in 0.py, 1.py, 2.py, 3.py, 4.py, 5.py and 3 more")


@pytest.mark.parametrize("address", ["", "node1", "node1:", ":9231", "node1:x", "node1:0", "node1:70000"])
def test_addresses_that_are_none(address):
    with pytest.raises(ValueError, match="expected host:port"):
        roll_call.split_address(address)


def test_addresses():
    assert roll_call.split_address("node1:9231") == ("node1", 9231)
    assert roll_call.split_address("[fe80::1]:9231") == ("fe80::1", 9231)
