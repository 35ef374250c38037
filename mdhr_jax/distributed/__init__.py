"""Several processes as one run: how they find each other, and how they stay together outside the devices.

`place` says which processes there are, `roll_call` has them meet and compare what they are about to run,
`lines` ends or stops all when one ends or is told to stop. The rest of the project uses what is named here.
"""

from mdhr_jax.distributed.lines import HUNG, LOST
from mdhr_jax.distributed.place import VARIABLES, Place, find_place
from mdhr_jax.distributed.processes import (
    TogetherError,
    by_first,
    come_further,
    compiled,
    describe,
    end,
    finish,
    gain,
    is_first,
    name_self,
    require_same,
    start,
    stop_here,
    take_time,
    together,
)

__all__ = [
    "HUNG",
    "LOST",
    "VARIABLES",
    "Place",
    "TogetherError",
    "by_first",
    "come_further",
    "compiled",
    "describe",
    "end",
    "find_place",
    "finish",
    "gain",
    "is_first",
    "name_self",
    "require_same",
    "start",
    "stop_here",
    "take_time",
    "together",
]
