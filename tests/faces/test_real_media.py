"""Faces in real pictures and videos that whoever runs the tests has: ``MDHR_MEDIA=DIR``.

``DIR/faces.json`` says what a person sees: the faces of each picture, the frames with a face of each video,
by file name, such as ``{"group.jpg": 5, "speech.mp4": 72}``. Nothing is run without.
"""

import json
import os
from pathlib import Path

import pytest

MEDIA = os.environ.get("MDHR_MEDIA")
EXPECTED = Path(MEDIA) / "faces.json" if MEDIA else None

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        EXPECTED is None or not EXPECTED.is_file(),
        reason="MDHR_MEDIA names no folder with a faces.json",
    ),
]

FIND = """
import json, sys
from pathlib import Path
from mdhr_jax.faces import media, mtcnn
from mdhr_jax.faces.aligner import align_video
from mdhr_jax.faces.recipe import AlignmentRecipe

detector, found = mtcnn.load(), {}
for name in sys.argv[2:]:
    (recording,) = media.recordings([Path(sys.argv[1]) / name])
    if recording.is_video:
        aligned = align_video(recording.frames(), AlignmentRecipe(), detector)
        found[name] = sum(frame.matrix is not None for frame in aligned)
    else:
        found[name] = len(detector.detect(list(recording.frames()))[0])
json.dump(found, sys.stdout)
"""


def test_as_many_faces_are_found_as_a_person_sees(run_python):
    assert EXPECTED is not None
    expected = json.loads(EXPECTED.read_text())
    done = run_python("-c", FIND, str(MEDIA), *expected)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected
