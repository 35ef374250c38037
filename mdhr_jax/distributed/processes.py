"""What the processes of a run do together outside the devices: begin, agree, end.

What one process alone could fail at (files, above all) is done with `together` or `by_first`, after which
either all go on or all end with the same error. Where one ends otherwise, the `lines` end the others.
"""

import ctypes
import hashlib
import importlib.metadata
import itertools
import json
import math
import os
import platform
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax
from jax._src import distributed as jax_distributed
from ml_collections import ConfigDict

from mdhr_jax import config as config_lib
from mdhr_jax import progress
from mdhr_jax.distributed import roll_call
from mdhr_jax.distributed.lines import Lines
from mdhr_jax.distributed.place import find_place, told_devices

# Configuration that hosts may have of their own: where the data lie there, and how fast they are read.
_OWN_KEYS = ("data.dir", "data.workers", "data.prefetch", "distributed.timeout")
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
# What computes on a kind of device; a host has those for its own.
_PLUGINS = ("jax-cuda12-plugin", "jax-cuda12-pjrt", "jax-cuda13-plugin", "jax-cuda13-pjrt", "libtpu")
_SETTINGS = ("jax_platforms", "jax_enable_x64", "jax_default_matmul_precision", "jax_default_prng_impl")
_POLL_MILLISECONDS = 1000
_PARTING_SECONDS = 60
_LATER_SECONDS = 60
_LOSS_SECONDS = 3.0

_T = TypeVar("_T")
_F = TypeVar("_F", bound=Callable[..., Any])
_calls = itertools.count()
_lines: Lines | None = None


class TogetherError(RuntimeError):
    """All processes of the run end with this very error."""


def start(config: ConfigDict, directory: Path) -> None:
    """Connects this process with the others of its run, before anything asks for devices.

    All must come, with the same code, libraries and configuration; processes that are not the first no
    longer announce anything. A process that is alone, or connected already, goes on at once.

    Args:
        config: what is to be run.
        directory: of the run; on a file system that all processes see.

    Raises:
        ValueError: see `roll_call.meet`; or the environment is wrong.
        TogetherError: processes see different kinds of devices.
    """
    if jax_distributed.global_state.client is not None:
        return
    seconds, silent_seconds = float(config.distributed.timeout), float(config.distributed.silent_timeout)
    for name, value in (("timeout", seconds), ("silent_timeout", silent_seconds)):
        if not value > 0:
            raise ValueError(f"config.distributed.{name} must be positive, found {value:g}")
    place = find_place(seconds)
    if place is None:
        _take_devices(told_devices())
        return
    facts = describe(config, directory)
    own = roll_call.Member(place.process, place.processes, platform.node(), facts)
    if place.process == 0:
        progress.announce(f"waiting at {place.address} for all {place.processes} processes of this run")
    peers = roll_call.meet(own, place.address, seconds)
    global _lines
    _lines = Lines(
        str(own),
        peers,
        silent_seconds=silent_seconds,
        step_seconds=float(config.distributed.step_timeout),
    )
    if place.process != 0:
        progress.be_quiet()
    _delay_aborts()
    # It would take SIGTERM away from whoever else handles it, and knows of no other signal.
    jax.config.update("jax_enable_preemption_service", False)
    # Steps are begun before those before them have ended, which `freed_memory` turns off on CPUs: a process
    # that hangs is told from those that wait for it by having begun fewer.
    jax.config.update("jax_cpu_enable_async_dispatch", True)
    jax.distributed.initialize(
        place.address,
        place.processes,
        place.process,
        local_device_ids=place.devices,
        cluster_detection_method="deactivate",
        initialization_timeout=math.ceil(seconds),
        shutdown_timeout_seconds=_PARTING_SECONDS,
        # After the lines, which say who is gone.
        heartbeat_timeout_seconds=math.ceil(silent_seconds) + _LATER_SECONDS,
    )
    require_same("devices", sorted({device.device_kind for device in jax.local_devices()}))


def _take_devices(devices: tuple[int, ...] | None) -> None:
    """Has a process that is alone take only the GPUs that it is told to; of several, JAX sees to it."""
    if devices is not None:
        for name in ("jax_cuda_visible_devices", "jax_rocm_visible_devices"):
            jax.config.update(name, ",".join(map(str, devices)))


def _delay_aborts() -> None:
    """Gives the lines the time to say who is lost, where JAX is told at the same moment and aborts.

    The thread that aborts sleeps for a few seconds first: for as many as the signal has for a number.
    """
    library = ctypes.CDLL(None)
    library.signal.argtypes, library.signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    library.signal(signal.SIGABRT, ctypes.cast(library.sleep, ctypes.c_void_p))


def describe(config: ConfigDict, directory: Path) -> dict[str, dict[str, Any]]:
    """What all processes of a run must have in common.

    Args:
        config: what is to be run.
        directory: of the run.

    Returns:
        ``code``: hash of each source file; ``libraries``: versions, None where one is not installed;
        ``settings``: of JAX; ``config``: its values by dotted key, but for those that a host may have of its
        own; ``workdir``.
    """
    package = Path(__file__).parents[1]
    values = config_lib.flatten(config_lib.as_json(config))
    return {
        roll_call.CODE: {
            path.relative_to(package.parent).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:16]
            for path in sorted(package.rglob("*.py"))
        },
        "libraries": {
            "python": ".".join(platform.python_version_tuple()[:2]),
            **{name: _version(name) for name in (*_LIBRARIES, *_PLUGINS)},
        },
        "settings": {name: str(getattr(jax.config, name)) for name in _SETTINGS},
        "config": {key: value for key, value in values.items() if key not in _OWN_KEYS},
        "workdir": {"--workdir": str(directory)},
    }


def _version(library: str) -> str | None:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def is_first() -> bool:
    """Whether this process is the one that writes and prints what is needed once."""
    return jax_distributed.global_state.process_id == 0


def name_self() -> str:
    """``process 3 on node7`` in a run of several processes; nothing where this one is alone."""
    return "" if _lines is None else _lines.own


def together(action: Callable[[], _T]) -> _T:
    """Does something on every process; where it fails on one, it fails on all.

    Args:
        action: must not wait for other processes.

    Returns:
        What it returned here.

    Raises:
        TogetherError: it failed on some processes; theirs are the messages.
        Exception: what it raised, where this process is alone.
    """
    if jax_distributed.global_state.client is None:
        return action()
    outcome, problem = None, None
    try:
        outcome = action()
    except Exception as error:
        problem = f"{error}" if isinstance(error, ValueError | OSError | RuntimeError) else repr(error)
        _raise_if_any(_exchange([problem, name_self()]), error)
    else:
        _raise_if_any(_exchange([None, name_self()]), None)
    return outcome  # pyright: ignore[reportReturnType]


def by_first(action: Callable[[], _T]) -> _T:
    """Does something on the first process, while the others wait; where it fails, it fails on all.

    Args:
        action: must not wait for other processes. It returns what JSON can hold.

    Returns:
        What it returned on the first process.

    Raises:
        TogetherError, Exception: see `together`.
    """
    if jax_distributed.global_state.client is None:
        return action()
    told: list[Any] = []
    together(lambda: told.append(action()) if is_first() else None)
    return _exchange(told)[0][0]


def compiled(step: _F, *arguments: Any) -> _F:
    """A jitted function, compiled on every process before one of them runs it.

    They compile in different times, and once they compute together some kinds of communication wait half a
    minute for each other and no longer (those of CPUs do). Where this process is alone nothing is done.

    Args:
        step: what `jax.jit` gave.
        arguments: the result takes arguments of the same shapes, types and shardings as these.
    """
    if jax_distributed.global_state.client is None:
        return step
    jitted: Any = step
    take_time()
    program = jitted.lower(*arguments).compile()
    together(lambda: None)
    come_further("computing for the first time")
    return program


def require_same(what: str, value: Any) -> None:
    """Refuses to go on where processes do not have the same.

    Args:
        what: in the plural, for the message.
        value: of what JSON can hold.

    Raises:
        TogetherError: naming the processes that differ from the first.
    """
    if jax_distributed.global_state.client is None:
        return
    (first, _), *others = _exchange([value, name_self()])
    if differing := [f"{json.dumps(found)} on {who}" for found, who in others if found != first]:
        raise TogetherError(
            f"the {what} of the processes of this run differ: {json.dumps(first)} on process 0, "
            f"{', '.join(differing)}; give all the same"
        )


def come_further(doing: str) -> None:
    """Says that this process is not stuck: before a step, a batch or whatever else takes about as long.

    When it does not come further for `config.distributed.step_timeout` seconds, it ends the run. A process
    that is alone is not watched.

    Args:
        doing: what is about to be done, for the message.
    """
    if _lines is not None:
        _lines.come_further(doing)


def take_time() -> None:
    """What follows may take as long as it wants, until the next `come_further`."""
    if _lines is not None:
        _lines.take_time()


def gain() -> None:
    """Says that what the run has done since it was started is saved, at least in part.

    Where it then hangs, it ends with `LOST`, which launchers start again; with nothing gained it would only
    hang again, and ends with an error.
    """
    if _lines is not None:
        _lines.gain()


def stop_here(wanted: bool) -> bool:
    """Whether all processes stop at this point of their way.

    All must call it equally often, at the same points. Where one of them has been told to stop, they agree
    on one of these points that none has passed yet; until then none waits for another.

    Args:
        wanted: whether this process has been told to stop.
    """
    return wanted if _lines is None else _lines.stop_here(wanted)


def finish() -> None:
    """The last thing that a process of a run does, if all went well."""
    if _lines is not None:
        _lines.close()


def end(message: str, code: int, *, perhaps_lost: bool = False) -> NoReturn:
    """Ends all processes of the run at once, each with the same message; does not wait for threads.

    Args:
        message: what is wrong.
        code: exit code.
        perhaps_lost: whether the end of another process may be behind it; that is then told instead.
    """
    if _lines is not None:
        if perhaps_lost:
            _lines.wait_for_loss(_LOSS_SECONDS)
        _lines.end(message, code)
    progress.tell(f"error: {message}")
    sys.stdout.flush()
    os._exit(code)


def _raise_if_any(outcomes: list[Any], cause: Exception | None) -> None:
    failed: dict[str, list[str]] = {}
    for problem, who in outcomes:
        if problem is not None:
            failed.setdefault(problem, []).append(who)
    if len(failed) == 1 and len(*failed.values()) == len(outcomes):
        raise TogetherError(*failed) from cause
    if failed:
        raise TogetherError(
            "\n".join(f"{', '.join(who)}: {problem}" for problem, who in failed.items())
        ) from cause


def _exchange(value: Any) -> list[Any]:
    """The values that all processes give to this very call, in their order; of what JSON can hold."""
    state: Any = jax_distributed.global_state
    key = f"mdhr_jax/{next(_calls)}"
    state.client.key_value_set(f"{key}/{state.process_id}", json.dumps(value))
    if state.process_id == 0:
        values = [json.loads(_wait(f"{key}/{process}")) for process in range(state.num_processes)]
        state.client.key_value_set(f"{key}/all", json.dumps(values))
        return values
    return json.loads(_wait(f"{key}/all"))


def _wait(key: str) -> str:
    client: Any = jax_distributed.global_state.client
    # In short waits, because no signal is heard during one. The end of a process ends the others' too.
    while True:
        try:
            return client.blocking_key_value_get(key, _POLL_MILLISECONDS)
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
