import pytest

from mdhr_jax import hardware
from mdhr_jax.hardware import peak_bandwidth, peak_flops, processor_name


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


@pytest.mark.parametrize(
    ("kind", "gigabytes"),
    [
        ("NVIDIA H200", 4800),
        ("NVIDIA H100 80GB HBM3", 3350),
        ("NVIDIA H100 PCIe", 2000),
        ("NVIDIA A100-SXM4-40GB", 1555),
        ("NVIDIA A100-SXM4-80GB", 2039),
        ("NVIDIA A100 80GB PCIe", 1935),
        ("TPU v5 lite", 819),
    ],
)
def test_the_memory_of_devices_is_known_by_their_names(kind, gigabytes):
    assert peak_bandwidth(kind) == gigabytes * 1e9


def test_memory_that_is_not_in_the_table_has_no_peak():
    assert peak_bandwidth("cpu") is None


def test_every_device_has_both_peaks():
    assert set(hardware._PEAK_TFLOPS) <= set(hardware._PEAK_GBYTES)


def test_the_processor_has_a_name():
    assert processor_name().strip()
