"""The test trees themselves: numbers survive what recordings go through, and faces have room around them."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.data_prep import raw_trees


@pytest.mark.parametrize("number", [0, 1, 643, 2440, 65535])
def test_numbers_survive_compression_scaling_and_light(number):
    picture = raw_trees.frame(number, (520, 696))
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=40)
    small = Image.open(buffer).convert("RGB").resize((256, 256), Image.Resampling.BILINEAR)
    darker = (np.asarray(small) * 0.6 + 20).astype(np.uint8)
    assert raw_trees.read_number(darker) == number


def test_numbers_can_be_drawn_anywhere():
    picture = raw_trees.draw_number(np.full((256, 256, 3), 90, np.uint8), 517, (60, 200, 196, 210))
    assert raw_trees.read_number(picture, (60, 200, 196, 210)) == 517
    with pytest.raises(ValueError, match="no number"):
        raw_trees.read_number(picture)


def test_a_number_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="0 to 65535"):
        raw_trees.draw_number(np.zeros((64, 64, 3), np.uint8), 1 << 16)


def test_faces_are_placed_with_a_border():
    (face,) = raw_trees.faces(1)
    picture = raw_trees.place(face, (520, 696), edge=256, centre=(200, 300))
    np.testing.assert_array_equal(picture[172:428, 72:328], face)
    np.testing.assert_array_equal(picture[100, 72:328], face[0])
    assert (picture[600] == 128).all()
