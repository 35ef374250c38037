"""The alignment recipe: every choice that decides how a face lies in its crop.

It is stored as JSON with the data and with every checkpoint, and compared between them. Its first keys are
those of the synthetic sets' crop recipe (`mdhr_jax.data.synthetic.generator.SyntheticSpec.crop_recipe`).
"""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from mdhr_jax.faces.alignment import EYE_DISTANCE, EYE_HEIGHT, NOSE_DEPTH
from mdhr_jax.faces.smoothing import Smoothing

NAME = "canonical"
VERSION = 2
"""Changes whenever the same fields, or no choices at all, would give other crops;
tests/faces/test_recipe_version.py sees to it. 2: smoothed by a line where nothing is chosen, not by a mean.

Archives, records and checkpoints hold the whole recipe: with another version, archives are made again in a
folder of their own, and what was made before is refused beside them.
"""

_FIXED: dict[str, Any] = {
    "name": NAME,
    "recipe_version": VERSION,
    "eyes_level": True,
    "centred": True,
    "scale": "eyes and nose",
    "nose_depth": NOSE_DEPTH,
}
"""What is the same in every recipe of this version."""


@dataclasses.dataclass(frozen=True)
class AlignmentRecipe:
    """How faces are found and cut out.

    Attributes:
        size: side of the crops, pixels.
        eye_height: of the eyes in the crop, share of its side from the top.
        eye_distance: of the eyes of a face seen from the front, share of the side.
        detector: name of the detector.
        detector_version: of its weights.
        short_side: pixels to which the shorter side of a frame is reduced for the detector; 0 where that is
            unknown.
        detect_every: faces are searched for in every n-th frame and followed between; 1 for every frame.
        max_gap: longest run of frames without a face whose points are interpolated, frames.
        smoothing: see `mdhr_jax.faces.smoothing.METHODS`.
        smoothing_window: frames, odd.
        smoothing_causal: whether later frames are left out.

    Raises:
        ValueError: a field is out of range.
    """

    size: int = 256
    eye_height: float = EYE_HEIGHT
    eye_distance: float = EYE_DISTANCE
    detector: str = "mtcnn"
    detector_version: str = "1.0.0"
    short_side: int = 256
    detect_every: int = 5
    max_gap: int = 5
    smoothing: str = Smoothing.method
    smoothing_window: int = Smoothing.window
    smoothing_causal: bool = Smoothing.causal

    def __post_init__(self) -> None:
        lowest = {
            "size": (self.size, 16),
            "short_side": (self.short_side, 0),
            "detect_every": (self.detect_every, 1),
            "max_gap": (self.max_gap, 0),
        }
        for name, (found, least) in lowest.items():
            if found < least:
                raise ValueError(f"{name} must be at least {least}, found {found}")
        for name, share in {"eye_height": self.eye_height, "eye_distance": self.eye_distance}.items():
            if not 0.0 < share < 1.0:
                raise ValueError(f"{name} is a share of the crop's side, between 0 and 1, found {share}")
        _ = self.filter

    @property
    def filter(self) -> Smoothing:
        """The smoothing."""
        return Smoothing(self.smoothing, self.smoothing_window, self.smoothing_causal)

    @property
    def look_ahead(self) -> int:
        """Frames after a frame that must be seen before its crop is final, at most.

        Smoothing needs its half window; where a face is lost, it may be back after `max_gap` frames, and
        the points between need the smoothed points of that frame.
        """
        return self.filter.look_ahead + self.max_gap

    def to_json(self) -> dict[str, Any]:
        """The recipe as a JSON object."""
        return _FIXED | dataclasses.asdict(self)

    @classmethod
    def from_json(cls, recipe: Mapping[str, Any] | str) -> "AlignmentRecipe":
        """Reads a recipe.

        Args:
            recipe: what `to_json` gave, or its text.

        Raises:
            ValueError: it is not a recipe of this version, or has other fields.
        """
        try:
            found = json.loads(recipe) if isinstance(recipe, str) else recipe
        except ValueError as error:
            raise ValueError(f"the alignment recipe is not JSON: {error}") from error
        if not isinstance(found, Mapping):
            raise ValueError(f"the alignment recipe is {type(found).__name__}, expected a JSON object")
        fields = {field.name: field for field in dataclasses.fields(cls)}
        for key, expected in _FIXED.items():
            if found.get(key) != expected:
                raise ValueError(
                    f"the alignment recipe has {key} = {found.get(key)!r}, this version of mdhr_jax "
                    f"knows only {expected!r}; use the version that wrote it, or align the recordings again"
                )
        unknown = sorted(set(found) - set(fields) - set(_FIXED))
        missing = sorted(set(fields) - set(found))
        if unknown or missing:
            problems = [f"unknown: {', '.join(unknown)}"] * bool(unknown)
            problems += [f"missing: {', '.join(missing)}"] * bool(missing)
            raise ValueError(f"the alignment recipe has other fields than expected ({'; '.join(problems)})")
        for name, field in fields.items():
            kind = type(field.default)
            right = isinstance(found[name], (int, float) if kind is float else kind)
            if not right or (isinstance(found[name], bool) and kind is not bool):
                raise ValueError(
                    f"the alignment recipe has {name} = {found[name]!r}, expected {kind.__name__}"
                )
        values: dict[str, Any] = {
            name: float(found[name]) if isinstance(field.default, float) else found[name]
            for name, field in fields.items()
        }
        return cls(**values)
