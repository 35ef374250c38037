"""The processor's name, and peak arithmetic rates of known accelerators, from their data sheets."""

import contextlib
import platform
import re
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


def peak_flops(device_kind: str, dtype: str) -> float | None:
    """Peak of matrix products in FLOP/s.

    Args:
        device_kind: as `jax.Device.device_kind` has it.
        dtype: format of the operands: ``bfloat16`` or ``float32`` (at JAX's default precision).

    Returns:
        None for devices and formats that are not in the table, such as CPUs and float64.
    """
    matches = [name for name in _PEAK_TFLOPS if re.search(rf"\b{name}\b", device_kind, re.IGNORECASE)]
    if not matches or dtype not in ("bfloat16", "float32"):
        return None
    half, single = _PEAK_TFLOPS[max(matches, key=len)]
    return (half if dtype == "bfloat16" else single) * 1e12


def processor_name() -> str:
    """What the processor calls itself, where the system tells."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
