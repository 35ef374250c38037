"""The forms in which the PyTorch reference is timed: as released, and the faster ones that it has for free.

``released``
    eager, float32, PyTorch's own settings.
``channels_last``
    eager, maps with channels last, and matrix products in TF32 where the device has it, as ours by default.
``compile``
    that, through ``torch.compile``.
``amp``
    eager, channels last, under autocast to bfloat16.
``amp+compile``
    that, through ``torch.compile``.
"""

FORMS = {
    "float32": ("released", "channels_last", "compile"),
    "bfloat16": ("released", "amp", "amp+compile"),
}
"""Forms that ours is timed beside, by our number format."""

NAMES = tuple(dict.fromkeys(form for forms in FORMS.values() for form in forms))
"""All forms."""

NEIGHBORS = 5
"""The reference's k."""
