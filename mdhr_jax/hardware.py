"""Peak arithmetic rates of known accelerators, from their data sheets."""

# Dense bfloat16 matrix products, in TFLOP/s a chip (a TPU device of v2 and v3 is one core: half a chip).
_PEAK_TFLOPS = {
    "H200": 989,
    "H100": 989,
    "H800": 989,
    "A100": 312,
    "A800": 312,
    "L40S": 362,
    "A40": 150,
    "V100": 125,
    "TPU v6": 918,
    "TPU v5p": 459,
    "TPU v5": 459,
    "TPU v5 lite": 197,
    "TPU v5e": 197,
    "TPU v4": 275,
    "TPU v3": 61,
    "TPU v2": 22,
}


def peak_flops(device_kind: str) -> float | None:
    """Peak of bfloat16 matrix products in FLOP/s.

    Args:
        device_kind: as `jax.Device.device_kind` has it.

    Returns:
        None for devices that are not in the table, such as CPUs.
    """
    matches = [name for name in _PEAK_TFLOPS if name.lower() in device_kind.lower()]
    return _PEAK_TFLOPS[max(matches, key=len)] * 1e12 if matches else None
