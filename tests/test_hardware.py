import pytest

from mdhr_jax.hardware import peak_flops, processor_name


@pytest.mark.parametrize(
    ("kind", "bfloat16", "float32"),
    [
        ("NVIDIA H200", 989, 494),
        ("NVIDIA H100 80GB HBM3", 989, 494),
        ("NVIDIA H100 PCIe", 756, 378),
        ("NVIDIA H100 NVL", 835, 417),
        ("NVIDIA A100-SXM4-40GB", 312, 156),
        ("Tesla V100-SXM2-16GB", 125, 15.7),
        ("NVIDIA L40S", 362, 183),
        ("TPU v4", 275, 275),
        ("TPU v5 lite", 197, 197),
        ("TPU v5p", 459, 459),
        ("TPU v6 lite", 918, 918),
    ],
)
def test_devices_are_known_by_the_name_that_jax_gives_them(kind, bfloat16, float32):
    assert peak_flops(kind, "bfloat16") == bfloat16 * 1e12
    assert peak_flops(kind, "float32") == float32 * 1e12


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("cpu", "float32"), ("NVIDIA A4000", "float32"), ("NVIDIA L4", "float32"), ("NVIDIA H200", "float64")],
)
def test_what_is_not_in_the_table_has_no_peak(kind, dtype):
    assert peak_flops(kind, dtype) is None


def test_the_processor_has_a_name():
    assert processor_name().strip()
