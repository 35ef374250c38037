"""Pictures with known faces in them, and a detector that sees where they are."""

import numpy as np
from PIL import Image
from skimage import data

from mdhr_jax.faces.detector import Face
from tests.faces.scene import FACE

WIDTH, HEIGHT = 320, 160
_HALF = np.asarray([24.0, 27.0])


def frame(*centres: tuple[int, int]) -> np.ndarray:
    """A picture with the astronaut's head at some places; a bright dot says where each is."""
    picture = Image.new("RGB", (WIDTH, HEIGHT), (0, 0, 40))
    head = Image.fromarray(data.astronaut()[40:180, 160:290]).resize((65, 70))
    for x, y in centres:
        picture.paste(head, (x - 32, y - 35))
    pixels = np.array(picture)
    for x, y in centres:
        pixels[y - 2 : y + 2, x - 2 : x + 2] = (255, 0, 255)
    return pixels


class DotDetector:
    """Finds the dots; points lie around them as in a face."""

    name, version = "dots", "1"

    def detect(self, frames):
        return [self._faces(frame) for frame in frames]

    def _faces(self, frame):
        seen = (frame[..., 0] > 200) & (frame[..., 1] < 90) & (frame[..., 2] > 200)
        columns = np.flatnonzero(seen.any(0))
        faces = []
        for part in np.split(columns, np.flatnonzero(np.diff(columns) > 8) + 1) if len(columns) else []:
            rows = np.flatnonzero(seen[:, part].any(1))
            centre = np.asarray([part.mean() + 0.5, rows.mean() + 0.5])
            box = np.concatenate([centre - _HALF, centre + _HALF])
            points = 0.6 * FACE + centre
            faces.append(Face(box.astype(np.float32), points.astype(np.float32), 0.98))
        return faces
