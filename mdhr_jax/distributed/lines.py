"""Lines between the processes of a run: each hears at once of what ends one of them, and all stop together.

Devices that compute together wait for each other for ever, and JAX, where it notices that a process is gone,
aborts the others from within, with a trace of its C++ code that names nobody. So the connections of the roll
call stay open, one from each process to process 0, and a thread of each process listens to them:

* A process that fails says why; all end with its message.
* One that is killed hangs up, and one that is stopped or cut off falls silent: all end, and name it.
* One that is alive, but has come no further for long, ends all itself, and says who is furthest behind. This
  is so from the first moment on; only what may take as long as it wants, such as compiling, is announced.
* One that is told to stop asks at which point of their way all can: none waits for that but those asked.

Nothing of this uses devices, or JAX.
"""

import contextlib
import json
import os
import selectors
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, NoReturn

from mdhr_jax import progress
from mdhr_jax.distributed.roll_call import Peer

LOST = 76
"""Exit code of a process that has lost another one of its run, of which it does not know why it ended, or
that comes no further although it did before: the same command may well go on."""

HUNG = 1
"""Exit code of a process that comes no further and has not gained anything either: it would be so again."""

_TICK_SECONDS = 0.25
_BEAT_SECONDS = 1.0
_SEND_SECONDS = 5.0
_PARTING_SECONDS = 3.0
_ALIVE, _BYE, _END, _FLOOR, _STOP_AT = "alive", "bye", "end", "floor", "stop at"
_BEHIND, _LATE = "behind", "late"


class Lines:
    """The lines of this process; begins to listen at once.

    Args:
        own: name of this process.
        peers: by number: those that are connected with it. Process 0 has all others, these have process 0.
        silent_seconds: after which a process that is not heard of is taken to be gone.
        step_seconds: after which a process that has come no further ends the run; 0: never.

    Attributes:
        own: name of this process.
    """

    def __init__(self, own: str, peers: Mapping[int, Peer], *, silent_seconds: float, step_seconds: float):
        self.own = own
        self._peers = dict(peers)
        self._first = 0 not in peers
        self._silent_seconds, self._step_seconds = silent_seconds, step_seconds
        self._heard = dict.fromkeys(self._peers, time.monotonic())
        self._received = {number: bytearray() for number in self._peers}
        self._open = set(self._peers)
        self._sending = threading.Lock()
        self._ending = threading.Lock()
        self._closed = threading.Event()
        # What follows is of the main thread and of the one that listens.
        self._state = threading.Condition()
        self._late = self._due()
        self._doing = "at the start"
        self._moves = 0
        self._gained = False
        # How often each has come further, and its last word; process 0 hears all others.
        self._reached: dict[int, tuple[int, str]] = {}
        self._behind = ""
        self._passed = 0
        self._floors: dict[int, int] = {}
        self._floor: int | None = None
        self._stop_at: int | None = None
        self._selector = selectors.DefaultSelector()
        for number, peer in self._peers.items():
            peer.connection.settimeout(_SEND_SECONDS)
            self._selector.register(peer.connection, selectors.EVENT_READ, number)
        self._listener = threading.Thread(target=self._listen, name="lines", daemon=True)
        self._listener.start()

    def come_further(self, doing: str) -> None:
        """Says that this process is not stuck: what it does next may take `step_seconds`.

        All must call it at the same points of their way.

        Args:
            doing: what that is, for the message.
        """
        with self._state:
            self._moves += 1
            self._doing = doing
            self._late = self._due()

    def take_time(self) -> None:
        """What follows may take as long as it wants, until this process next comes further."""
        with self._state:
            self._late = None

    def gain(self) -> None:
        """Says that what has been done since the start is not lost any more.

        A run that then comes no further ends with `LOST`, and not with `HUNG`.
        """
        self._gained = True

    def stop_here(self, wanted: bool) -> bool:
        """Whether all processes stop at this point of their way, one of several that all come by.

        All must call this the same number of times, and hear the same at each. It does not wait, unless a
        process is to stop; then it does until all have said which of these points they have yet to pass.

        Args:
            wanted: whether this process has been told to stop.
        """
        with self._state:
            self._passed += 1
            if wanted and self._floor is None:
                self._promise(self._passed)
            while self._floor is not None and self._stop_at is None:
                self._state.wait(_TICK_SECONDS)
            return self._stop_at is not None and self._passed >= self._stop_at

    def end(self, message: str, code: int = 1) -> NoReturn:
        """Ends the run: this process, and all others with the same message.

        Args:
            message: why.
            code: exit code of all.
        """
        if not self._ending.acquire(blocking=False):
            threading.Event().wait()  # Another thread has begun to; this one dies with it.
        progress.tell(f"error: {message}")
        sys.stdout.flush()
        for number in sorted(self._open):
            self._send(number, {_END: message, "code": code})
        # JAX aborts processes whose coordinator goes before them.
        deadline = time.monotonic() + _PARTING_SECONDS
        while self._first and self._open and time.monotonic() < deadline:
            if threading.current_thread() is self._listener:
                self._take_in(parting=True)
            else:
                time.sleep(0.01)
        os._exit(code)

    def wait_for_loss(self, seconds: float) -> None:
        """Leaves the listener some time to end the process, where a device has failed because a peer has."""
        self._listener.join(seconds)

    def close(self) -> None:
        """This process has done its part; whatever happens to the others is no longer its concern."""
        for number in sorted(self._open):
            self._send(number, {_BYE: True})
        self._closed.set()

    def _due(self) -> float | None:
        return time.monotonic() + self._step_seconds if self._step_seconds else None

    def _listen(self) -> None:
        beat = before = time.monotonic()
        while not self._closed.is_set():
            parting = self._ending.locked()
            self._take_in(parting=parting)
            if parting:
                continue
            now = time.monotonic()
            if now - before > self._silent_seconds / 2:
                # This process was stopped itself, perhaps with all others; that time does not count.
                self._heard = dict.fromkeys(self._peers, now)
                with self._state:
                    self._late = None if self._late is None else self._late + now - before
            before = now
            if now >= beat:
                beat = now + _BEAT_SECONDS
                self._beat()
            for number in self._open:
                if now - self._heard[number] > self._silent_seconds:
                    self.end(
                        f"{self._peers[number].name} has not been heard of for {self._silent_seconds:g} s "
                        "(config.distributed.silent_timeout): it is stopped, or its machine or the network "
                        "fails. The same command goes on from what is saved",
                        LOST,
                    )
            with self._state:
                late, doing = self._late, self._doing
            if late is not None and now > late:
                behind = f" Furthest behind is {self._behind}." if self._behind else ""
                message = (
                    f"{self.own} has come no further for {self._step_seconds:g} s "
                    f"(config.distributed.step_timeout), {doing}: it waits for devices, for another process "
                    f"or for files.{behind} The same command goes on from what is saved"
                    f"{'' if self._gained else ', to which nothing was added since the start'}"
                )
                # Others that wait for this one are late at nearly the same time; process 0 hears one first.
                if self._first or now > late + _PARTING_SECONDS:
                    self.end(message, self._hung())
                self._send(0, {_LATE: message})

    def _hung(self) -> int:
        """Exit code where all come no further."""
        return LOST if self._gained else HUNG

    def _beat(self) -> None:
        """Lets the others know that this process is alive, and who of all is furthest behind."""
        with self._state:
            own = (self._moves, self._doing)
        if self._first:
            moves = {0: own, **self._reached}
            last = min(moves, key=lambda number: moves[number][0])
            name = self._peers[last].name if last else self.own
            equal = len({count for count, _ in moves.values()}) == 1
            self._behind = "" if equal else f"{name}, {moves[last][1]}"
        for number in sorted(self._open):
            self._send(number, {_ALIVE: own, **({_BEHIND: self._behind} if self._first else {})})

    def _take_in(self, *, parting: bool = False) -> None:
        """Hears what has arrived, for one tick at most."""
        for key, _ in self._selector.select(_TICK_SECONDS):
            number, connection = key.data, self._peers[key.data].connection
            try:
                part = connection.recv(2**16)
            except TimeoutError:
                continue
            except OSError:
                part = b""
            if not part:
                self._selector.unregister(connection)
                connection.close()
                if number in self._open:
                    self._open.discard(number)
                    if not parting:
                        self.end(
                            f"{self._peers[number].name} is gone: it was killed, has crashed or has lost its "
                            "machine. See what it said; the same command goes on from what is saved",
                            LOST,
                        )
                continue
            self._heard[number] = time.monotonic()
            received = self._received[number]
            received += part
            *lines, rest = received.split(b"\n")
            self._received[number] = bytearray(rest)
            for line in lines:
                if not parting:
                    self._understand(number, json.loads(line))

    def _understand(self, number: int, said: Mapping[str, Any]) -> None:
        if _END in said:
            self.end(said[_END], said["code"])
        if _LATE in said:
            self.end(said[_LATE], self._hung())
        if _ALIVE in said:
            self._reached[number] = tuple(said[_ALIVE])
            self._behind = said.get(_BEHIND, self._behind)
        if _BYE in said:
            self._open.discard(number)
            self._reached.pop(number, None)
        if _STOP_AT in said:
            with self._state:
                self._stop_at = said[_STOP_AT]
                self._state.notify_all()
        if _FLOOR in said:
            with self._state:
                if self._first:
                    self._floors[number] = said[_FLOOR]
                if self._floor is None:
                    # What this process is at now it may have decided already.
                    self._promise(self._passed + 1)
                elif self._first:
                    self._settle()

    def _promise(self, floor: int) -> None:
        """Says that this process can stop at any point from this one on; it waits there to hear at which."""
        self._floor = floor
        if self._first:
            self._floors[0] = floor
            for number in sorted(self._open):
                self._send(number, {_FLOOR: floor})
            self._settle()
        else:
            self._send(0, {_FLOOR: floor})

    def _settle(self) -> None:
        """Process 0: once all have said from where on they can stop, tells them where they do."""
        if self._stop_at is None and len(self._floors) == 1 + len(self._peers):
            self._stop_at = max(self._floors.values())
            for number in sorted(self._open):
                self._send(number, {_STOP_AT: self._stop_at})
            self._state.notify_all()

    def _send(self, number: int, content: Mapping[str, Any]) -> None:
        # Who has gone is noticed where it is heard of.
        with contextlib.suppress(OSError), self._sending:
            self._peers[number].connection.sendall(json.dumps(content).encode() + b"\n")
