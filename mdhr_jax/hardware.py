"""The processor's name, and peak rates of known accelerators from their data sheets."""

import contextlib
import platform
import re
from collections.abc import Iterable
from pathlib import Path

# Dense matrix products, in TFLOP/s a chip (a TPU device of v2 and v3 is one core: half a chip): operands in
# bfloat16 (on V100 float16), and float32 operands as JAX multiplies them by default: in TF32 on GPUs that
# have it, in bfloat16 on TPUs.
_PEAK_TFLOPS = {
    "H200": (989, 494),
    "H100": (989, 494),
    "H100 NVL": (835, 417),
    "H100 PCIe": (756, 378),
    "H800": (989, 494),
    "A100": (312, 156),
    "A800": (312, 156),
    "L40S": (362, 183),
    "A40": (150, 75),
    "V100": (125, 15.7),
    "TPU v6": (918, 918),
    "TPU v6 lite": (918, 918),
    "TPU v5p": (459, 459),
    "TPU v5": (459, 459),
    "TPU v5 lite": (197, 197),
    "TPU v5e": (197, 197),
    "TPU v4": (275, 275),
    "TPU v3": (61, 61),
    "TPU v2": (22, 22),
}

# Of the device's own memory, in GB/s, of the same devices. A100s and H100s with other memory say so in their
# names.
_PEAK_GBYTES = {
    "H200": 4800,
    "H100": 3350,
    "H100 NVL": 3900,
    "H100 PCIe": 2000,
    "H800": 3350,
    "A100": 1555,
    "A100-SXM4-80GB": 2039,
    "A100 80GB PCIe": 1935,
    "A800": 2039,
    "L40S": 864,
    "A40": 696,
    "V100": 900,
    "TPU v6": 1640,
    "TPU v6 lite": 1640,
    "TPU v5p": 2765,
    "TPU v5": 2765,
    "TPU v5 lite": 819,
    "TPU v5e": 819,
    "TPU v4": 1228,
    "TPU v3": 450,
    "TPU v2": 350,
}


def peak_flops(device_kind: str, dtype: str) -> float | None:
    """Peak of matrix products in FLOP/s.

    Args:
        device_kind: as `jax.Device.device_kind` has it.
        dtype: format of the operands: ``bfloat16`` or ``float32`` (at JAX's default precision).

    Returns:
        None for devices and formats that are not in the table, such as CPUs and float64.
    """
    name = _longest_match(_PEAK_TFLOPS, device_kind)
    if name is None or dtype not in ("bfloat16", "float32"):
        return None
    half, single = _PEAK_TFLOPS[name]
    return (half if dtype == "bfloat16" else single) * 1e12


def peak_bandwidth(device_kind: str) -> float | None:
    """Peak of reading and writing the device's memory in bytes/s.

    Args:
        device_kind: as `jax.Device.device_kind` has it.

    Returns:
        None for devices that are not in the table, such as CPUs.
    """
    name = _longest_match(_PEAK_GBYTES, device_kind)
    return None if name is None else _PEAK_GBYTES[name] * 1e9


def _longest_match(names: Iterable[str], device_kind: str) -> str | None:
    matches = [name for name in names if re.search(rf"\b{name}\b", device_kind, re.IGNORECASE)]
    return max(matches, key=len, default=None)


def processor_name() -> str:
    """What the processor calls itself, where the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
