"""The processes of a run meet before JAX connects them, and compare what they are about to run.

Where a process does not come, or comes twice, JAX aborts the others from within, with a trace of its C++
code that names nobody; where processes run different programs, they wait for each other for ever. So
process 0 first listens at the coordinator's address itself. The others tell it who they are and what they
are about to run, and all hear the same of it: go on, or what is wrong.
"""

import contextlib
import dataclasses
import json
import queue
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Facts = Mapping[str, Mapping[str, Any]]
"""What must be the same everywhere: by subject, by name; of what JSON can hold."""

CODE = "code"
"""The subject whose names are files and whose values are hashes of them."""

_GREETING = "mdhr_jax roll call 1"
_MOST_BYTES = 2**22
_GRACE_SECONDS = 5.0
_PAUSE_SECONDS = 0.2
_MAX_LISTED = 6


@dataclasses.dataclass(frozen=True)
class Member:
    """A process of a run.

    Attributes:
        process: its number, from 0.
        processes: how many there are, as it has been told.
        host: name of its machine.
        facts: what it is about to run.
    """

    process: int
    processes: int
    host: str
    facts: Facts

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


@dataclasses.dataclass(frozen=True)
class Peer:
    """Another process of a run, and the connection with it.

    Attributes:
        name: ``process 3 on node7``.
        connection: lines of JSON, in both directions.
    """

    name: str
    connection: socket.socket


def meet(own: Member, address: str, seconds: float) -> dict[int, Peer]:
    """Waits until all processes of the run are there, and compares them with process 0.

    Args:
        own: this process.
        address: the coordinator's ``host:port``, where process 0 listens until this returns.
        seconds: in which all must come; five more may pass until all know of it.

    Returns:
        By number: on process 0 all others, on these process 0.

    Raises:
        ValueError: the address is not one or is in use, a process did not come, came twice or runs something
            else. Every process that was reached raises with the same message.
    """
    host, port = split_address(address)
    if own.process == 0:
        problem, peers = _call(own, port, address, seconds)
    else:
        problem, peers = _answer(own, (host, port), address, seconds)
    if problem:
        raise ValueError(problem)
    return peers


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``host:port``.

    Raises:
        ValueError: the text is not of that form.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ValueError(f"the coordinator's address is {address!r}; expected host:port, such as node1:9231")
    return host.strip("[]"), int(port)


def compare(members: Sequence[Member]) -> list[str]:
    """One line for each process and subject in which it differs from the first.

    Args:
        members: of one run.
    """
    first, lines = members[0], []
    for member in members[1:]:
        for subject in sorted(first.facts.keys() | member.facts.keys()):
            there, here = first.facts.get(subject, {}), member.facts.get(subject, {})
            names = sorted(name for name in there.keys() | here.keys() if there.get(name) != here.get(name))
            if not names:
                continue
            if subject == CODE:
                what = [f"other code in {', '.join(names[:_MAX_LISTED])}"]
            else:
                what = [
                    f"{name} is {json.dumps(here.get(name))}, {json.dumps(there.get(name))} on process 0"
                    for name in names[:_MAX_LISTED]
                ]
            more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
            lines.append(f"{member}: {subject}: {'; '.join(what)}{more}")
    return lines


def _call(own: Member, port: int, address: str, seconds: float) -> tuple[str, dict[int, Peer]]:
    """Process 0: hears all others, judges and tells them; returns what is wrong, or nothing, and them."""
    deadline = time.monotonic() + seconds
    present, problems = {0: own}, []
    arrivals: queue.SimpleQueue[tuple[socket.socket, Member]] = queue.SimpleQueue()
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(_listen(port))
        except OSError as error:
            return (
                f"{own} cannot listen at the port of the coordinator's address {address} "
                f"({error.strerror}); end what uses it, or set another port on all hosts: with "
                "JAX_COORDINATOR_ADDRESS, on Slurm (which derives it from the job's number) with "
                "JAX_COORDINATOR_PORT"
            ), {}
        connections: list[tuple[socket.socket, Member]] = []
        while len(present) < own.processes and time.monotonic() < deadline:
            with contextlib.suppress(OSError):  # Nobody in the time of a pause, or gone again.
                connection = stack.enter_context(server.accept()[0])
                # A thread each, because strangers may call here too, and say nothing.
                threading.Thread(target=_hear, args=(connection, arrivals), daemon=True).start()
            while not arrivals.empty():
                connection, member = arrivals.get()
                connections.append((connection, member))
                known = present.setdefault(member.process, member)
                if member.processes != own.processes:
                    problems.append(f"{member} is one of {member.processes}, {own} one of {own.processes}")
                elif known is not member:
                    problems.append(f"{known} came and {member} too")
                else:
                    continue
                # Others may be on their way, to be told too.
                deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
        problem = _verdict(own, present, problems, f"within {seconds:g} s to {address}")
        for connection, _ in connections:
            _send(connection, {"problem": problem, "name": str(own)})
        # They live on when the listener and what strangers have opened is closed.
        kept = [] if problem else connections
        return problem, {member.process: Peer(str(member), connection.dup()) for connection, member in kept}


def _verdict(own: Member, present: Mapping[int, Member], problems: list[str], whither: str) -> str:
    missing = [process for process in range(own.processes) if process not in present]
    if problems:
        return (
            f"the processes of this run do not count alike: {'; '.join(problems)}. All need the same "
            "JAX_NUM_PROCESSES, and each a JAX_PROCESS_ID of its own, from 0"
        )
    if missing:
        listed = ", ".join(map(str, missing[:_MAX_LISTED])) + (", ..." if len(missing) > _MAX_LISTED else "")
        there = ", ".join(str(present[process]) for process in sorted(present)[:_MAX_LISTED])
        return (
            f"{len(present)} of {own.processes} processes came {whither}; missing: {listed}; there: {there}. "
            "See what those say, whether all have the coordinator's address, and whether its port is open; "
            "config.distributed.timeout is how long all are waited for"
        )
    lines = compare([present[process] for process in sorted(present)])
    if lines:
        more = f"\n  and {len(lines) - _MAX_LISTED} more" if len(lines) > _MAX_LISTED else ""
        return (
            "the processes of this run are not about to do the same:\n"
            + "\n".join(f"  {line}" for line in lines[:_MAX_LISTED])
            + more
            + "\nInstall the same on all hosts and start the same command on all of them."
        )
    return ""


def _answer(own: Member, place: tuple[str, int], address: str, seconds: float) -> tuple[str, dict[int, Peer]]:
    """Another process: tells process 0 who it is; returns what is wrong, or nothing, and process 0."""
    deadline = time.monotonic() + seconds
    found = f"{own} of {own.processes} found"
    connection, reason = _reach(place, deadline)
    if connection is None:
        return (
            f"{found} nobody at the coordinator's address {address} in {seconds:g} s ({reason}); "
            "see whether process 0 runs on that host, what it says, and whether its port is open"
        ), {}
    with connection:
        _send(connection, {"greeting": _GREETING, **dataclasses.asdict(own)})
        connection.settimeout(max(deadline - time.monotonic(), 0) + _GRACE_SECONDS)
        try:
            reply = _receive(connection)
        except TimeoutError:
            return f"{found} process 0 at {address} still waiting for others after {seconds:g} s", {}
        except (OSError, ValueError) as error:
            return f"{found} something else than process 0 of this run at {address} ({error})", {}
        problem = str(reply.get("problem", f"{address} did not say whether to go on"))
        return problem, {} if problem else {0: Peer(str(reply["name"]), connection.dup())}


def _reach(place: tuple[str, int], deadline: float) -> tuple[socket.socket | None, str]:
    """A connection, or why there is none."""
    while True:
        try:
            left = max(deadline - time.monotonic(), _PAUSE_SECONDS)
            return socket.create_connection(place, timeout=min(left, _GRACE_SECONDS)), ""
        except OSError as error:
            reason = error.strerror or str(error)
        if time.monotonic() > deadline:
            return None, reason
        time.sleep(_PAUSE_SECONDS)


@contextlib.contextmanager
def _listen(port: int) -> Iterator[socket.socket]:
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    with socket.create_server(("", port), family=family, backlog=1024, dualstack_ipv6=both) as server:
        server.settimeout(_PAUSE_SECONDS)
        yield server


def _hear(connection: socket.socket, arrivals: queue.SimpleQueue[tuple[socket.socket, Member]]) -> None:
    """Puts a process that calls into the queue; what strangers say is not answered."""
    connection.settimeout(_GRACE_SECONDS)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        said = _receive(connection)
        if said.pop("greeting") == _GREETING:
            arrivals.put((connection, Member(**said)))


def _send(connection: socket.socket, content: Mapping[str, Any]) -> None:
    # Who has gone is not told; it has said why itself.
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(content).encode() + b"\n")


def _receive(connection: socket.socket) -> dict[str, Any]:
    """One line of JSON.

    Raises:
        OSError, ValueError: none came, or something else.
    """
    received = bytearray()
    while not received.endswith(b"\n"):
        ahead = connection.recv(2**16, socket.MSG_PEEK)
        if not ahead:
            raise ConnectionError("it hung up")
        # What follows the line is not this one's to read.
        received += connection.recv(ahead.find(b"\n") + 1 or len(ahead))
        if len(received) > _MOST_BYTES:
            raise ValueError("it says too much")
    content = json.loads(received)
    if not isinstance(content, dict):
        raise ValueError("it says something else")
    return content
