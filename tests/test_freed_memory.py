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
