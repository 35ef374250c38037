"""A real face through the command with MTCNN: where its eyes come to lie, and a video without any face."""

import io
import json

import numpy as np
from PIL import Image
from skimage import data

from data_prep import archives
from mdhr_jax.data import aligned, video_files
from mdhr_jax.faces import alignment

from . import raw_trees

EYES = np.asarray([(204, 100), (245, 102)], np.float64)
"""Of the photograph's face, as a person sees them, pixels."""

ZOOM = 2
FRAMES = range(7, 13)


def corner(number):
    """Where the photograph lies in a frame; it moves a little."""
    step = number - FRAMES[0]
    return 20 - step, 150 + step


def picture(number):
    """A frame of BP4D's size with the photograph."""
    photograph = Image.fromarray(data.astronaut())
    large = photograph.resize((ZOOM * photograph.width, ZOOM * photograph.height), Image.Resampling.BICUBIC)
    frame = Image.new("RGB", raw_trees.BP4D_SIZE, (128,) * 3)
    frame.paste(large, corner(number))
    return frame


def test_the_eyes_of_a_real_face_come_to_the_canonical_level(tmp_path, run_python):
    root = tmp_path / "raw"
    videos = [raw_trees.Bp4dVideo("F001_T1", FRAMES, width=4), raw_trees.Bp4dVideo("M011_T1", range(3))]
    raw_trees.write_bp4d(root, videos, raw_trees.BP4D_SIZE)
    for number in FRAMES:
        picture(number).save(root / f"2D+3D/F001/T1/{number:04d}.jpg", quality=92)
    arguments = ["--raw", str(root), "--out", str(tmp_path), "--workers", "1"]
    done = run_python("-m", "data_prep.bp4d", *arguments)
    assert done.returncode == 1, done.stderr
    assert "1 video left out" in done.stderr
    assert "M011_T1: " in done.stderr
    assert "no face was found in any of its frames" in done.stderr
    manifest = json.loads((tmp_path / "bp4d/1.0.0/manifest.json").read_text())
    assert set(manifest["videos"]) == {"F001_T1"}
    assert manifest["crop_recipe"]["detector"] == "mtcnn"
    files = video_files.ArchiveFiles(tmp_path / "bp4d-aligned/F001_T1.zip")
    record = archives.read_record(files)
    assert record is not None
    assert record.frame_numbers.tolist() == list(FRAMES)
    assert set(record.status) <= {"detected", "tracked"}
    eyes = []
    for number, matrix in zip(FRAMES, record.matrices, strict=True):
        eyes.append(alignment.transform(matrix, ZOOM * EYES + corner(number)))
        with files.opened() as read:
            crop = np.asarray(Image.open(io.BytesIO(read(aligned.frame_name(number)))), np.float64)
        # The crop shows what its matrix says.
        expected = alignment.warp(np.asarray(picture(number)), matrix.astype(np.float64), 256)
        assert np.abs(crop - expected).mean() < 3
    # A person's idea of an eye's middle and the detector's differ by a few pixels, the same in each frame.
    sides = [(0.5 - 0.175) * 256, (0.5 + 0.175) * 256]
    np.testing.assert_allclose(np.mean(eyes, 0)[:, 1], 0.29 * 256, atol=4)
    np.testing.assert_allclose(np.mean(eyes, 0)[:, 0], sides, atol=8)
    assert np.std(eyes, axis=0).max() < 1
