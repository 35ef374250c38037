"""Memory that a process has freed and keeps."""

import importlib.util
import json
import os
from pathlib import Path

import pytest

from mdhr_jax import freed_memory

SCRIPT = """
import json, resource
from mdhr_jax import freed_memory
kept = freed_memory.keep()
import jax, jax.numpy as jnp
step = jax.jit(lambda x: jnp.sin(jax.lax.optimization_barrier(jnp.broadcast_to(x, (64, 2**20)) + 1.0)).sum())
faults = []
for _ in range(16):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    step(1.0).block_until_ready()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(json.dumps({"kept": kept, "faults": min(faults[1:])}))
"""
"""A program with 256 MiB between its operations, which are 65536 pages. Some steps pass until they fit."""

HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")

here = pytest.mark.skipif(
    not freed_memory._is_gnu() or any(map(importlib.util.find_spec, freed_memory._ACCELERATORS)),
    reason="it is not done here",
)


@pytest.fixture
def run(run_python, monkeypatch):
    for name in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)
    if HUGE_PAGES.exists() and "[always]" in HUGE_PAGES.read_text():
        pytest.skip("pages are of 2 MiB here")

    def started():
        done = run_python("-c", SCRIPT)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return started


@here
def test_a_second_step_finds_the_memory_of_the_first(run):
    found = run()
    assert found["kept"]
    assert found["faults"] < 1000


@here
def test_settings_of_the_environment_have_precedence(run, monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "4")
    found = run()
    assert not found["kept"]
    assert found["faults"] > 10_000


def test_nothing_is_done_where_there_is_an_accelerator(monkeypatch):
    for name in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "jax_plugins" or None)
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", lambda name: pytest.fail("the allocator was asked"))
    assert not freed_memory.keep()


GROWTH = """
import ctypes, json
from mdhr_jax import freed_memory
assert freed_memory.keep()
library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = library.memset.argtypes = None
def take(mib):
    piece = ctypes.c_void_p(library.malloc(ctypes.c_size_t(mib << 20)))
    library.memset(piece, ctypes.c_int(1), ctypes.c_size_t(mib << 20))
    return piece
held = []
def look():
    freed_memory.settle()
    held.append(freed_memory._resident() >> 20)
first, small = take(1000), take(1)
look()
library.free(first)
look()
second = take(1500)
look()
library.free(second)
look()
look()
print(json.dumps(held))
"""
"""A piece that does not fit into the one freed before it."""


@here
def test_a_process_does_not_hold_more_and_more(run_python, monkeypatch):
    for name in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)
    done = run_python("-c", GROWTH)
    assert done.returncode == 0, done.stderr
    start, kept, with_second, after, later = json.loads(done.stdout)
    assert start - 50 < kept < start + 50  # Freed, and not more than usual.
    assert start + 400 < with_second < start + 600  # The free 1000 MiB are given back, those in use are not.
    assert after == pytest.approx(later, abs=50)
    assert with_second - 50 < after < with_second + 50  # What was in use then is usual from there on.


def test_without_keeping_nothing_is_given_back(monkeypatch):
    monkeypatch.setattr(freed_memory, "_kept", False)
    monkeypatch.setattr(freed_memory.ctypes, "CDLL", lambda name: pytest.fail("the allocator was asked"))
    freed_memory.settle()


STARTED = """
import runpy, sys
from mdhr_jax import freed_memory
def keep(*, overlap=False):
    from jax._src import xla_bridge
    sys.exit(f"kept, overlap {overlap}, started {bool(xla_bridge._backends)}")
freed_memory.keep = keep
sys.argv = sys.argv[1:]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""
"""Says how the command that follows asks for memory to be kept, and whether JAX had started by then."""


@pytest.mark.parametrize(
    ("command", "overlap"),
    [
        (["mdhr_jax.main", "--config", "configs/quickstart.py"], False),
        (["mdhr_jax.predict", "face.mp4", "--checkpoint", "RUN", "--out", "OUT"], True),
        (["mdhr_jax.bench.push", "RUN"], True),
        (["mdhr_jax.bench.apart", "case", "{}", "RESULT"], False),
        (["mdhr_jax.bench.apart", "predicting", "{}", "RESULT"], True),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else str(value),
)
def test_commands_ask_before_jax_starts(run_python, command, overlap):
    done = run_python("-c", STARTED, *command)
    assert f"kept, overlap {overlap}, started False" in done.stderr


@here
@pytest.mark.parametrize("overlap", [False, True])
def test_steps_run_one_by_one_unless_the_host_is_to_go_on(run_python, monkeypatch, overlap):
    for name in [name for name in os.environ if name.startswith("MALLOC_") or name == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)
    script = f"""
from mdhr_jax import freed_memory
assert freed_memory.keep(overlap={overlap})
import jax, jax.numpy as jnp
x = jax.block_until_ready(jnp.ones((1500, 1500)))
step = jax.jit(lambda x: x @ x @ x @ x @ x @ x).lower(x).compile()
print(any([not step(x).is_ready() for _ in range(5)]))
"""
    done = run_python("-c", script)
    assert done.stdout.split()[-1:] == [str(overlap)], done.stderr
