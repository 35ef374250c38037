import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mdhr_jax import facs, parallel
from mdhr_jax.models.functional import FunctionalModel
from mdhr_jax.models.mdhr import MDHRConfig
from mdhr_jax.training.optimizer import make_optimizer
from mdhr_jax.training.state import StateFactory


@pytest.mark.parametrize(
    ("data", "fsdp", "shape"), [(-1, 1, (8, 1)), (-1, 4, (2, 4)), (2, -1, (2, 4)), (8, 1, (8, 1))]
)
def test_the_mesh_takes_all_devices(data, fsdp, shape):
    mesh = parallel.make_mesh(data, fsdp)
    assert (mesh.shape["data"], mesh.shape["fsdp"]) == shape
    assert mesh.devices.ravel().tolist() == jax.devices()


@pytest.mark.parametrize(("data", "fsdp"), [(3, 1), (-1, 3), (-1, -1), (4, 1), (0, 8), (8, 2)])
def test_a_mesh_that_does_not_fit_is_refused(data, fsdp):
    with pytest.raises(ValueError, match="does not fit 8 device"):
        parallel.make_mesh(data, fsdp)


class Device:
    def __init__(self, process_index, number):
        self.process_index, self.id = process_index, number


@pytest.mark.parametrize("of_each", [(2, 2), (3, 1)])
def test_processes_have_neighbouring_devices_and_equally_many(of_each, monkeypatch):
    # As on a TPU pod, where devices are numbered by their place in the grid.
    processes = [process for process, number in enumerate(of_each) for _ in range(number)]
    devices = [Device(process, number) for process, number in zip(processes, (0, 2, 1, 3), strict=True)]
    by_number = sorted(devices, key=lambda device: device.id)
    own = jax.devices()
    monkeypatch.setattr(jax, "devices", lambda: by_number)
    if of_each == (3, 1):
        with pytest.raises(ValueError, match="process 0 has 3, process 1 has 1"):
            parallel.make_mesh()
    else:
        grids, mesh = [], jax.make_mesh((1,), ("any",), devices=own[:1])
        monkeypatch.setattr(parallel, "Mesh", lambda grid, *_, **__: grids.append(grid) or mesh)
        parallel.make_mesh(-1, 2)
        assert grids[0].tolist() == [devices[:2], devices[2:]]
        with pytest.raises(ValueError, match=r"fit 4 device\(s\) \(2 processes with 2 each\)"):
            parallel.make_mesh(8, 1)


def test_a_batch_that_devices_cannot_share_is_refused_with_the_nearest():
    parallel.check_batch_size("train.batch_size", 16, 8)
    with pytest.raises(ValueError, match="nearest that fit: 8 or 16"):
        parallel.check_batch_size("train.batch_size", 12, 8)
    with pytest.raises(ValueError, match=r"nearest that fit: 16$"):
        parallel.check_batch_size("train.batch_size", 8, 8, micro_batches=2)


def test_fsdp_splits_what_is_large():
    abstract = {
        "large.kernel": jax.ShapeDtypeStruct((3, 512, 256), jnp.float32),
        "odd.kernel": jax.ShapeDtypeStruct((333, 333), jnp.float32),
        "small.kernel": jax.ShapeDtypeStruct((64, 8), jnp.float32),
        "large.bias": jax.ShapeDtypeStruct((2**20,), jnp.float32),
    }
    shardings = parallel.state_shardings(abstract, parallel.make_mesh(2, 4))
    assert shardings["large.kernel"].shard_shape((3, 512, 256)) == (3, 128, 256)
    for name in ("odd.kernel", "small.kernel", "large.bias"):
        assert shardings[name].is_fully_replicated
    whole = parallel.state_shardings(abstract, parallel.make_mesh(8, 1))
    assert all(sharding.is_fully_replicated for sharding in whole.values())


def test_an_array_that_the_table_does_not_know_is_refused():
    abstract = {"a.kernel": jax.ShapeDtypeStruct((8,), jnp.float32)}
    abstract |= {f"{name}.gate": abstract["a.kernel"] for name in "ba"}
    with pytest.raises(ValueError, match=r"how to keep a\.gate, b\.gate; add a line"):
        parallel.state_shardings(abstract, parallel.make_mesh())


@pytest.mark.parametrize(("backbone", "excess"), [("resnet50", 0.01), ("swin_base", 0.02), ("tiny", 0.1)])
def test_the_table_covers_every_state_and_splits_nearly_all_of_it(backbone, excess):
    model = FunctionalModel.create(MDHRConfig(facs.BP4D, backbone=backbone))
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), make_optimizer(1e-3, 10))

    shapes = StateFactory(model, optimizer, parallel.make_mesh(), ema=True).abstract

    def on_each(fsdp, *names):
        shardings = parallel.state_shardings(shapes, parallel.make_mesh(-1, fsdp))
        kept = [jax.tree.leaves([getattr(tree, name) for name in names]) for tree in (shapes, shardings)]
        return sum(
            math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
            for leaf, sharding in zip(*kept, strict=True)
        )

    everything = ("params", "ema", "opt_state")
    assert on_each(8, *everything) <= (1 + excess) * on_each(1, *everything) / 8
    # The table of docs/cluster.md, without the average that few runs keep.
    whole = on_each(1, "params", "opt_state")
    for fsdp in (1, 2, 4, 8):
        held = on_each(fsdp, "params", "opt_state")
        more = held * fsdp / whole - 1
        print(f"{backbone}, fsdp={fsdp}: {held / 2**20:.1f} MiB, {more:.1%} more than an even share")
    if backbone != "tiny":
        document = (Path(__file__).parents[1] / "docs" / "cluster.md").read_text()
        assert f" {held / 2**20:.1f} ({held * 8 / whole - 1:.1%}) |" in document


def test_memory_of_a_device_is_that_of_its_shards():
    mesh = parallel.make_mesh(2, 4)
    tree = {
        "split.kernel": jnp.zeros((64, 128), jnp.float32),
        "whole.bias": jnp.zeros(64, jnp.bfloat16),
        "rng": jax.random.key(0),
    }
    placed = jax.device_put(tree, parallel.state_shardings(jax.eval_shape(lambda: tree), mesh))
    assert parallel.bytes_per_device(placed) == 64 * 128 * 4 // 4 + 64 * 2 + 8
    assert parallel.bytes_per_device({}) == 0


@pytest.mark.parametrize("fsdp", [1, 2, 4, 8])
def test_memory_of_a_device_falls_in_proportion(fsdp):
    model = FunctionalModel.create(MDHRConfig(facs.BP4D, backbone="tiny"))
    states = StateFactory(model, make_optimizer(1e-3, 10), parallel.make_mesh(-1, fsdp), ema=False)

    def zeros(spec):
        part = np.zeros(spec.sharding.shard_shape(spec.shape), spec.dtype)
        return jax.make_array_from_callback(spec.shape, spec.sharding, lambda _: part)

    abstract = states.abstract
    kept = jax.tree.map(zeros, (abstract.params, abstract.opt_state))
    whole = sum(leaf.nbytes for leaf in jax.tree.leaves(kept))
    held = parallel.bytes_per_device(kept)
    print(f"fsdp={fsdp}: {held / 2**20:.2f} MiB a device, {held * fsdp / whole:.3f} even shares of the whole")
    assert whole / fsdp <= held <= 1.1 * whole / fsdp
    assert (held == whole) == (fsdp == 1)


def test_placing_keeps_sharding_and_type():
    mesh = parallel.make_mesh(2, 4)
    like = jax.ShapeDtypeStruct((64, 128), jnp.bfloat16)
    sharding = parallel.state_shardings({"a.kernel": like}, mesh)["a.kernel"]
    values = np.arange(64 * 128).reshape(64, 128) % 256
    placed = parallel.place(values, jax.ShapeDtypeStruct(like.shape, like.dtype, sharding=sharding))
    assert (placed.dtype, placed.sharding) == (jnp.bfloat16, sharding)
    np.testing.assert_array_equal(np.asarray(placed, np.int32), values)
