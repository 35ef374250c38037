import pytest

from mdhr_jax import parallel


@pytest.mark.parametrize(
    ("data", "fsdp", "shape"), [(-1, 1, (8, 1)), (-1, 4, (2, 4)), (2, -1, (2, 4)), (8, 1, (8, 1))]
)
def test_the_mesh_takes_all_devices(data, fsdp, shape):
    mesh = parallel.make_mesh(data, fsdp)
    assert (mesh.shape["data"], mesh.shape["fsdp"]) == shape


@pytest.mark.parametrize(("data", "fsdp"), [(3, 1), (-1, 3), (-1, -1), (4, 1), (0, 8)])
def test_a_mesh_that_does_not_fit_is_refused(data, fsdp):
    with pytest.raises(ValueError, match="does not fit 8 device"):
        parallel.make_mesh(data, fsdp)


def test_a_batch_that_devices_cannot_share_is_refused_with_the_nearest():
    mesh = parallel.make_mesh()
    parallel.check_batch_size("train.batch_size", 16, mesh)
    with pytest.raises(ValueError, match="nearest that fit: 8 or 16"):
        parallel.check_batch_size("train.batch_size", 12, mesh)
    with pytest.raises(ValueError, match=r"nearest that fit: 16$"):
        parallel.check_batch_size("train.batch_size", 8, mesh, micro_batches=2)
