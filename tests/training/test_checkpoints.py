"""Checkpoints: exact, complete or absent after a kill, and clear about what is wrong."""

import dataclasses
import functools
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mdhr_jax.training.checkpoints import CheckpointError, Checkpoints, load_weights
from mdhr_jax.training.stored_step import check_meta

META = {"au_names": ["AU1", "AU2"], "dataset": "disfa", "config": {"model": {"k": 5}}, "position": [3, 7]}


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["step", "params", "batch_stats", "opt_state", "rng"],
    meta_fields=[],
)
@dataclasses.dataclass(frozen=True)
class State:
    step: Any
    params: Any
    batch_stats: Any
    opt_state: Any
    rng: Any


def make_state(seed=0, width=8):
    """A state with all that a real one has: integer keys, named tuples, bfloat16, a PRNG key."""
    rng = np.random.default_rng(seed)
    params = {
        "blocks": {i: {"kernel": jnp.asarray(rng.normal(size=(width, 3)), jnp.float32)} for i in range(2)},
        "half": jnp.asarray(rng.normal(size=4), jnp.bfloat16),
    }
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.constant_schedule(1e-3)))
    opt_state = jax.tree.map(lambda x: x + x.dtype.type(seed), optimizer.init(params))
    return State(jnp.int32(seed), params, {"mean": jnp.ones(3)}, opt_state, jax.random.key(seed))


def abstract(state, sharding=None):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding or x.sharding), state
    )


def plain(leaf):
    return np.asarray(jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)


def assert_equal(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(plain(a), plain(b))


def test_state_and_meta_come_back_exactly(tmp_path):
    state = make_state(3)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert checkpoints.latest_step() is None
        assert checkpoints.best_step() is None
        assert checkpoints.save(7, state, META)
        assert checkpoints.latest_step() == 7
        assert checkpoints.best_step() is None
        assert checkpoints.f1_mean(7) is None
        restored, meta = checkpoints.restore(7, abstract(state))
        assert_equal(restored, state)
        assert meta == META == checkpoints.restore_meta(7)
        np.testing.assert_array_equal(jax.random.normal(restored.rng, 3), jax.random.normal(state.rng, 3))


def test_latest_ones_and_the_best_are_kept(tmp_path):
    state = {"params": {"w": jnp.zeros(2)}}
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step, f1 in ((1, 0.3), (2, 0.7), (3, 0.2), (4, None), (5, 0.7), (6, 0.1), (7, None), (8, None)):
            checkpoints.save(step, state, {}, f1)
        assert checkpoints.steps() == [5, 7, 8]
        assert checkpoints.best_step() == 5
        assert checkpoints.f1_mean(5) == 0.7
    with Checkpoints(tmp_path) as again:
        assert (again.latest_step(), again.best_step()) == (8, 5)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["5", "7", "8"]


def test_a_saved_state_may_be_donated_or_changed_at_once(tmp_path):
    state = {"params": {"w": jnp.arange(100_000.0)}, "host": {"x": np.arange(100_000)}}
    overwrite = jax.jit(lambda s: jax.tree.map(lambda x: x * 0 - 1, s), donate_argnums=0)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, {})
        w = state["params"]["w"]
        for _ in range(3):
            w = overwrite(w)
        state["host"]["x"][:] = -1
        found, _ = checkpoints.restore(
            1,
            {
                "params": {"w": jax.ShapeDtypeStruct((100_000,), jnp.float32)},
                "host": {"x": jax.ShapeDtypeStruct((100_000,), np.dtype(np.int64))},
            },
        )
    np.testing.assert_array_equal(found["params"]["w"], np.arange(100_000.0))
    np.testing.assert_array_equal(found["host"]["x"], np.arange(100_000))


def test_restoring_onto_another_mesh(tmp_path):
    devices = np.array(jax.devices())
    rows = NamedSharding(Mesh(devices, ("fsdp",)), PartitionSpec("fsdp"))
    w = jax.device_put(jnp.arange(32.0 * len(devices)).reshape(-1, 2), rows)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"params": {"w": w}, "rng": jax.random.key(1)}, {})
        fewer = Mesh(devices[: max(1, len(devices) // 2)].reshape(1, -1), ("data", "fsdp"))
        columns = NamedSharding(fewer, PartitionSpec("fsdp", "data"))
        everywhere = NamedSharding(fewer, PartitionSpec())
        target = {
            "params": {"w": jax.ShapeDtypeStruct(w.shape, w.dtype, sharding=columns)},
            "rng": jax.ShapeDtypeStruct((), jax.random.key(0).dtype, sharding=everywhere),
        }
        restored, _ = checkpoints.restore(1, target)
    assert restored["params"]["w"].sharding == columns
    np.testing.assert_array_equal(restored["params"]["w"], w)
    np.testing.assert_array_equal(plain(restored["rng"]), plain(jax.random.key(1)))


def test_a_step_saved_twice_keeps_its_state_and_gains_its_evaluation(tmp_path):
    target = {"w": jax.ShapeDtypeStruct((2,), jnp.float32)}
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.save(1, {"w": jnp.zeros(2)}, {"n": 1})
        assert not checkpoints.save(1, {"w": jnp.ones(2)}, {"n": 2})
        assert checkpoints.restore_meta(1) == {"n": 1}
        assert not checkpoints.save(1, {"w": jnp.ones(2)}, {"n": 3}, 0.5)
        assert not checkpoints.save(1, {"w": jnp.ones(2)}, {"n": 4}, 0.9)
        assert checkpoints.best_step() == 1
        assert checkpoints.f1_mean(1) == 0.5
        found, meta = checkpoints.restore(1, target)
        assert (found["w"].tolist(), meta) == ([0, 0], {"n": 3})
    with Checkpoints(tmp_path) as again:
        assert (again.steps(), again.best_step()) == ([1], 1)


class KilledError(BaseException):
    """Stands in for the end of the process."""


def test_the_only_checkpoint_outlives_a_kill_while_it_gains_its_evaluation(tmp_path, monkeypatch):
    state = make_state(1)
    changes = ("rename", "replace", "rmdir", "unlink", "mkdir", "open", "remove", "scandir")

    def die_at(number):
        """Whether the process got as far as the change of a file of that number."""
        done = 0

        def instead(change):
            def perhaps(*args, **more):
                nonlocal done
                done += 1
                if done >= number:  # A process that is killed does nothing afterwards, either.
                    raise KilledError
                return change(*args, **more)

            return perhaps

        directory = tmp_path / str(number)
        with Checkpoints(directory) as checkpoints:
            checkpoints.save(1, state, {"evaluation": None})
        checkpoints = Checkpoints(directory)
        with monkeypatch.context() as patch:
            for name in changes:
                patch.setattr(os, name, instead(getattr(os, name)))
            try:
                checkpoints.save(1, state, {"evaluation": {"f1_mean": 0.5}}, 0.5)
                return False
            except KilledError:
                pass
        with Checkpoints(directory) as again:
            assert again.steps() == [1]
            found, meta = again.restore(1, abstract(state))
            assert_equal(found, state)
            assert meta == {"evaluation": None} or meta == {"evaluation": {"f1_mean": 0.5}}
            if again.f1_mean(1) is not None:
                assert (again.f1_mean(1), meta["evaluation"]) == (0.5, {"f1_mean": 0.5})
            again.save(1, state, {"evaluation": {"f1_mean": 0.5}}, 0.5)
            assert (again.best_step(), again.restore_meta(1)["evaluation"]) == (1, {"f1_mean": 0.5})
        return True

    deaths = 0
    while die_at(deaths + 1):
        deaths += 1
    assert deaths >= 3


def test_another_model_is_refused_with_the_leaves_that_differ(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, make_state(), {})
        wider = abstract(make_state(width=9))
        with pytest.raises(ValueError, match="another model") as caught:
            checkpoints.restore(1, wider)
        text = str(caught.value)
        assert "params/blocks/0/kernel: stored float32[8, 3], expected float32[9, 3]" in text
        assert "and 1 more" in text
        assert len(text.splitlines()) == 8
        other = dataclasses.replace(abstract(make_state()), batch_stats={"var": wider.step})
        with pytest.raises(ValueError, match=r"batch_stats/var: stored nothing, expected int32\[\]"):
            checkpoints.restore(1, other)
        with pytest.raises(ValueError, match=r"batch_stats/mean: stored float32\[3\], expected nothing"):
            checkpoints.restore(1, other)
        half = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, jnp.bfloat16) if x.dtype == jnp.float32 else x,
            abstract(make_state()),
        )
        with pytest.raises(ValueError, match=r"stored float32.*expected bfloat16"):
            checkpoints.restore(1, half)
        with pytest.raises(FileNotFoundError, match=r"step 2 .*stored steps: 1"):
            checkpoints.restore(2, wider)


def test_a_damaged_checkpoint_is_named_whatever_file_is_gone(tmp_path, monkeypatch):
    # Where one of several reads fails, TensorStore reports the others to Orbax's event loop after it closed.
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    state = make_state()
    with Checkpoints(tmp_path / "whole") as checkpoints:
        checkpoints.save(1, state, META, 0.5)
    step = tmp_path / "whole" / "1"
    files = [p.relative_to(step) for p in sorted(step.rglob("*")) if p.is_file()]
    refused = []
    for file in [*files, ""]:
        shutil.rmtree(tmp_path / "hurt", ignore_errors=True)
        shutil.copytree(tmp_path / "whole", tmp_path / "hurt")
        hurt = tmp_path / "hurt" / "1"
        if file:
            (hurt / file).unlink()
        else:
            shutil.rmtree(hurt)
            hurt.mkdir()
        with Checkpoints(tmp_path / "hurt", read_only=True) as checkpoints:
            try:
                restored, meta = checkpoints.restore(1, abstract(state))
            except CheckpointError as error:
                refused.append(str(error))
            else:  # some files are not needed
                assert_equal(restored, state)
                assert meta == META
    assert len(refused) >= 4
    assert all(f"{tmp_path / 'hurt' / '1'} is damaged" in text for text in refused)


def test_the_best_that_is_left_is_not_taken_for_the_best(tmp_path):
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(1, make_state(1), {"n": 1}, 0.4)
        checkpoints.save(2, make_state(), {"n": 2}, 0.9)
    (tmp_path / "result.json").write_text('{"step": 2}')
    assert load_weights(tmp_path, names=())[1] == {"n": 2}
    shutil.rmtree(tmp_path / "checkpoints" / "2")
    for path in (tmp_path, tmp_path / "checkpoints"):
        with pytest.raises(FileNotFoundError, match=r"step 2, is gone; there is step 1\. Name one of these"):
            load_weights(path, names=())
    assert load_weights(tmp_path / "checkpoints" / "1", names=())[1] == {"n": 1}
    (tmp_path / "result.json").write_text("{")
    assert load_weights(tmp_path, names=())[1] == {"n": 1}


def test_weights_are_found_from_any_of_the_directories(tmp_path):
    state = make_state()
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(1, make_state(1), {"n": 1}, 0.9)
        checkpoints.save(2, state, {"n": 2}, 0.1)
    before = sorted(tmp_path.rglob("*"))
    for path, n in ((tmp_path, 1), (tmp_path / "checkpoints", 1), (tmp_path / "checkpoints" / "2", 2)):
        weights, meta = load_weights(path)
        assert meta == {"n": n}
        assert sorted(weights) == ["batch_stats", "params"]
    assert sorted(weights["params"]["blocks"]) == ["0", "1"]
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(weights))
    assert load_weights(tmp_path, names=()) == ({}, {"n": 1})
    like = {"params": abstract(state.params)}
    typed, _ = load_weights(tmp_path / "checkpoints" / "2", names=("params",), like=like)
    assert_equal(typed["params"], state.params)
    assert sorted(tmp_path.rglob("*")) == before
    with pytest.raises(ValueError, match="has no ema; it has batch_stats, opt_state, params"):
        load_weights(tmp_path, names=("params", "ema"))
    with pytest.raises(ValueError, match="expected float32"):
        load_weights(tmp_path, names=("params",), like={"params": abstract(make_state(width=9).params)})
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match=str(path)):
            load_weights(path)


def test_meta_that_differs_is_listed_field_by_field():
    check_meta(META, {"dataset": "disfa", "position": (3, 7), "config": {"model": {"k": 5}}})
    with pytest.raises(ValueError, match="made for something else") as caught:
        check_meta(META, {"dataset": "bp4d", "fold": 1, "config": {"model": {"k": 3, "T": 8}}})
    assert str(caught.value).splitlines()[1:5] == [
        "  dataset: found 'disfa', expected 'bp4d'",
        "  fold: found nothing, expected 1",
        "  config.model.k: found 5, expected 3",
        "  config.model.T: found nothing, expected 8",
    ]
    with pytest.raises(ValueError, match=r"config\.model\.k: found 5, expected nothing"):
        check_meta(META, {"config": {"model": {}}})


def test_what_cannot_be_saved_is_refused_before_anything_is_written(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for meta, f1, message in (
            ({"x": float("nan")}, None, "not strict JSON"),
            ({"x": object()}, None, "not strict JSON"),
            ({}, float("nan"), "f1_mean of step 1 is nan"),
        ):
            with pytest.raises(ValueError, match=message):
                checkpoints.save(1, {"w": jnp.zeros(1)}, meta, f1)
        assert checkpoints.steps() == []
    with pytest.raises(ValueError, match="keep is 0"):
        Checkpoints(tmp_path, keep=0)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Checkpoints(tmp_path / "nowhere", read_only=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be used"):
        Checkpoints(tmp_path / "file")


def test_a_write_that_fails_is_one_clear_error_and_leaves_the_others(tmp_path, monkeypatch):
    state = {"w": jnp.arange(4.0)}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, {"n": 1}, 0.5)
        checkpoints.wait()
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", refuse)
            patch.setattr(os, "replace", refuse)
            checkpoints.save(2, state, {}, 0.9)
            with pytest.raises(CheckpointError, match=rf"{tmp_path}: no space left \(\d+ MiB free"):
                checkpoints.wait()
        assert checkpoints.steps() == [1]
        assert checkpoints.best_step() == 1
        assert checkpoints.save(3, state, {})
        assert checkpoints.steps() == [1, 3]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1", "3"]


def refuse(*_args, **_kwargs):
    raise OSError(28, "No space left on device")


def test_an_error_of_the_run_is_not_hidden_by_one_of_the_checkpoint(tmp_path, monkeypatch):
    def run(patch):
        with Checkpoints(tmp_path) as checkpoints:
            patch.setattr(os, "rename", refuse)
            patch.setattr(os, "replace", refuse)
            checkpoints.save(1, {"w": jnp.zeros(1)}, {})
            raise KeyError("the run's own")

    with monkeypatch.context() as patch, pytest.raises(KeyError, match="the run's own") as caught:
        run(patch)
    assert "could not be written" in caught.value.__notes__[0]


def test_orbax_is_quiet_and_other_absl_messages_pass(tmp_path, caplog):
    with caplog.at_level(logging.INFO), Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, {"w": jnp.zeros(1)}, {})
        checkpoints.wait()
        logging.getLogger("absl").warning("from elsewhere")
    assert [record.getMessage() for record in caplog.records if record.name == "absl"] == ["from elsewhere"]


WRITER = """
import sys
import numpy as np
from mdhr_jax.training.checkpoints import Checkpoints

def state(step):
    return {"params": {f"w{i}": np.full((300, 1000), step * 100 + i, np.float32) for i in range(6)}}

with Checkpoints(sys.argv[1], keep=2) as checkpoints:
    step = checkpoints.latest_step() or 0
    while True:
        step += 1
        checkpoints.save(step, state(step), {"step": step}, 1 / step)
        print(step, flush=True)
"""


def test_a_kill_at_any_moment_leaves_only_whole_checkpoints(tmp_path):
    directory = tmp_path / "checkpoints"
    rng = random.Random(0)
    target = {"params": {f"w{i}": jax.ShapeDtypeStruct((300, 1000), np.float32) for i in range(6)}}
    reached = 0
    for _ in range(4):
        command = [sys.executable, "-c", WRITER, str(directory)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            for _ in range(rng.randint(1, 3)):
                started = int(writer.stdout.readline())
            time.sleep(rng.uniform(0, 0.08))
            writer.send_signal(signal.SIGKILL)
        with Checkpoints(directory, read_only=True) as checkpoints:
            steps = checkpoints.steps()
            assert steps
            assert steps[-1] >= started - 1 > reached - 2
            reached = steps[-1]
            assert checkpoints.best_step() == 1 or 1 not in steps
            for step in steps:
                found, meta = checkpoints.restore(step, target)
                assert meta == {"step": step}
                for i in range(6):
                    np.testing.assert_array_equal(found["params"][f"w{i}"], np.float32(step * 100 + i))
    with Checkpoints(directory) as checkpoints:
        checkpoints.save(reached + 1, {"w": jnp.zeros(1)}, {})
    assert all(p.name.isdigit() for p in directory.iterdir())
