"""Compiled programs that are kept: a process that starts again does not compile them."""

import json

import jax
import pytest
from jax._src import lru_cache

from mdhr_jax import compile_cache

SCRIPT = """
import json, sys
from pathlib import Path
import jax, jax.numpy as jnp
from mdhr_jax import compile_cache

where, workdir = sys.argv[1:]
found = {"hits": 0, "misses": 0}
def hear(event, **_):
    for name in found:
        if event == f"/jax/compilation_cache/cache_{name}":
            found[name] += 1
jax.monitoring.register_event_listener(hear)
jnp.ones(3) + 1  # Compiled before anybody says where.
compile_cache._MIN_COMPILE_SECONDS = 0.0
compile_cache.use(where, Path(workdir))
def long(x):
    for _ in range(30):
        x = jnp.sin(x @ x)
    return x
print(json.dumps(found | {"sum": float(jax.jit(long)(jnp.eye(8)).sum())}))
"""


@pytest.fixture
def start(run_python, monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")

    def run(where="auto"):
        done = run_python("-c", SCRIPT, where, str(tmp_path / "run"))
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_a_second_start_compiles_nothing(start, tmp_path):
    first, second = start(), start()
    assert first["hits"] == 0
    assert first["misses"] > 0
    assert (second["hits"], second["misses"]) == (first["misses"], 0)
    assert second["sum"] == first["sum"]
    kept = tmp_path / "run" / compile_cache.FOLDER
    assert any(path.name.startswith("jit_long-") for path in kept.iterdir())
    elsewhere = start(str(tmp_path / "shared"))
    assert elsewhere["hits"] == 0
    assert any((tmp_path / "shared").iterdir())


def test_nothing_is_kept_where_that_is_switched_off(start, tmp_path):
    assert start("off")["hits"] == start("off")["hits"] == 0
    assert not (tmp_path / "run").exists()


def test_entries_are_whole_when_they_appear(tmp_path, monkeypatch):
    seen = []

    def write(self, key, value):
        (self.path / f"{key}-cache").write_bytes(value[: len(value) // 2])
        seen.append(sorted(path.name for path in tmp_path.iterdir()))
        (self.path / f"{key}-cache").write_bytes(value)

    monkeypatch.setattr(lru_cache.LRUCache, "put", write)
    compile_cache._write_whole_files()
    compile_cache._write_whole_files()  # Once is enough.
    cache = lru_cache.LRUCache(str(tmp_path), max_size=-1)
    cache.put("step-1", b"program")
    assert [name.startswith("unfinished-") for name in seen[0]] == [True]
    assert [path.name for path in tmp_path.iterdir()] == ["step-1-cache"]
    assert cache.get("step-1") == b"program"
    cache.put("step-1", b"another")
    assert len(seen) == 1
    assert cache.get("step-1") == b"program"


def test_what_killed_processes_left_is_removed_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(jax.config, "update", lambda *_: None)
    (tmp_path / "unfinished-1-step-cache").write_bytes(b"half")
    compile_cache.use(str(tmp_path), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1  # Perhaps of a process that is writing.
    monkeypatch.setattr(compile_cache, "_LEFT_SECONDS", -1)
    compile_cache.use(str(tmp_path), tmp_path)
    assert list(tmp_path.iterdir()) == []
