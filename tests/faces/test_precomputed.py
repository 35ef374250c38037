"""Faces from another program's CSV files."""

import argparse

import numpy as np
import pytest

from mdhr_jax.faces import options, precomputed
from mdhr_jax.faces.recipe import AlignmentRecipe
from tests.faces.scene import face

HEADER = ",".join(precomputed.COLUMNS)
BLANK = np.zeros((240, 320, 3), np.uint8)


def _row(frame, one, **changes):
    values = [*one.box, *one.points.ravel(), one.confidence]
    cells = dict(zip(precomputed.COLUMNS, [str(frame), *(f"{v:.3f}" for v in values)], strict=True)) | changes
    return ",".join(cells.values())


def _write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return path


def test_faces_are_given_out_frame_by_frame(tmp_path):
    one, two, sure = face(50, 60), face(90, 60), face(140, 70, confidence=0.999)
    _write(tmp_path / "SN001.csv", HEADER, _row(2, two), _row(0, one), "", _row(2, sure))
    made = options.detector(AlignmentRecipe(detector="precomputed"), tmp_path, "SN001")
    first, none, both, end = made.detect([BLANK]) + made.detect([BLANK] * 3)
    np.testing.assert_allclose(first[0].points, one.points, atol=1e-3)
    np.testing.assert_allclose(first[0].box, one.box, atol=1e-3)
    assert (none, end) == ([], [])
    assert [found.confidence for found in both] == pytest.approx([0.999, 0.99])


def test_frames_may_have_numbers_of_their_own(tmp_path):
    _write(tmp_path / "F001_T1.csv", HEADER, _row(2440, face(50)), _row(2442, face(70)))
    made = options.detector(AlignmentRecipe(), tmp_path, "F001_T1", [2440, 2441, 2442])
    assert [len(found) for found in made.detect([BLANK] * 3)] == [1, 0, 1]
    with pytest.raises(ValueError, match="frame 4 of the video has no number: 3 were expected"):
        made.detect([BLANK])


def test_columns_may_come_in_any_order_with_others(tmp_path):
    names = [*reversed(precomputed.COLUMNS), "model"]
    row = [*reversed(_row(3, face()).split(",")), "mine"]
    read = precomputed.read(_write(tmp_path / "v.csv", ",".join(names), ",".join(row)))
    np.testing.assert_allclose(read[3][0].points, face().points, atol=1e-3)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["frame,x0"], "the header must have the column"),
        ([""], "the header must have the column"),
        (
            [HEADER.replace(",", ";")],
            "; its columns are separated by semicolons: save the file with",
        ),
        ([HEADER, _row("x7", face())], "line 2: 'x7' is not a frame number"),
        ([HEADER, _row(1, face()), "2,3"], "line 3 has 2 columns, the header 16"),
        ([HEADER, _row(1, face(), nose_x="")], "line 2: nose_x is '', expected a number"),
        ([HEADER, _row(1, face(), nose_x="nan")], "nose_x is 'nan'"),
        ([HEADER, _row(1, face(), x1="0")], "is empty; expected x0 < x1"),
        ([HEADER, _row(1, face(), confidence="99")], "confidence is 99.0, expected 0 to 1"),
        ([HEADER, _row(1, face(), right_eye_x="80", right_eye_y="88")], "both eyes are at"),
    ],
)
def test_what_is_wrong_is_said_with_file_and_line(tmp_path, lines, message):
    path = _write(tmp_path / "v.csv", *lines)
    with pytest.raises(ValueError, match=message) as error:
        precomputed.read(path)
    assert str(path) in str(error.value)


def _detector(tmp_path, numbers, of_frames, others=(), **changes):
    rows = [_row(number, face(60 + number), **changes) for number in numbers]
    _write(tmp_path / "v.csv", HEADER, *rows)
    return options.detector(AlignmentRecipe(), tmp_path, "v", of_frames, others)


NUMBERS_OF_OTHERS = {
    "from 0 instead of 1": (
        range(20),
        range(1, 21),
        (),
        "no frame 0: .* 0 to 19, .* 1 to 20; .* if they were 1 more",
    ),
    "from 1 instead of 0": (
        range(1, 21),
        range(20),
        (),
        "no frame 20: .*; they would fit if they were 1 less",
    ),
    "from 0 instead of 2440": (
        range(9),
        range(2440, 2449),
        (),
        r"\(nor 8 more of them\).* if they were 2440 more",
    ),
    "other frames": (
        range(5),
        range(10, 15),
        range(10),
        "none of the frames used is in it: its frames are 0 to 4",
    ),
    "no faces": ((), range(3), (), "none of the frames used is in it: its frames are none"),
}


@pytest.mark.parametrize("case", NUMBERS_OF_OTHERS)
def test_numbers_that_the_recording_does_not_have_are_refused(tmp_path, case):
    numbers, used, others, message = NUMBERS_OF_OTHERS[case]
    with pytest.raises(precomputed.DetectionsError, match=rf"v\.csv: .*{message}.*Number its rows as"):
        _detector(tmp_path, numbers, used, others)


def test_what_may_be_right_is_noted(tmp_path):
    assert _detector(tmp_path, range(20), range(5, 15), [*range(5), *range(15, 20)]).notes == ()
    (note,) = _detector(tmp_path, range(1, 18), range(1, 21)).notes
    assert note == f"{tmp_path}/v.csv has no face in 3 of 20 frames, first frame 18"
    (note,) = _detector(tmp_path, range(1, 4), range(1, 21)).notes
    assert note.startswith("warning: ")
    assert "in 17 of 20 frames, first frame 4; its frames are 1 to 3, those of the recording 1 to 20" in note
    # One off, where the recording goes on before the frames that are used.
    (note,) = _detector(tmp_path, range(9, 19), range(10, 20), range(10)).notes
    assert note.startswith("warning: ")
    assert note.endswith("they would fit if they were 1 more")


def test_a_recording_of_unknown_length_is_compared_at_its_end(tmp_path):
    made = _detector(tmp_path, range(1, 4), None)
    made.detect([BLANK] * 3)
    with pytest.raises(precomputed.DetectionsError, match=r"no frame 3: .*would fit if they were 1 less"):
        made.check_end()
    made.detect([BLANK])
    made.check_end()
    assert made.notes == (f"{tmp_path}/v.csv has no face in 1 of 4 frames, first frame 0",)


@pytest.mark.parametrize("what", ["boxes", "points"])
def test_shares_of_the_picture_are_refused(tmp_path, what):
    shares = {"x0": "0.1", "y0": "0.1", "x1": "0.9", "y1": "1.0"}
    if what == "points":
        shares = {name: f"0.{i}" for i, name in enumerate(precomputed.COLUMNS[5:15])}
    with pytest.raises(ValueError, match=rf"v\.csv: all coordinates of the {what} are .* multiply x by the"):
        _detector(tmp_path, [1, 2], [1, 2], **shares)


def test_points_outside_of_the_picture(tmp_path):
    made = _detector(tmp_path, [7], [7])
    with pytest.raises(
        precomputed.DetectionsError,
        match=r"v\.csv: frame 7: mouth_\w+ is at \(.*, 128\), outside of the picture of 96 x 80; expected",
    ):
        made.detect([BLANK[:80, :96]])
    made = _detector(tmp_path, [7], [7])
    # The chin is cut off by the edge.
    assert len(made.detect([BLANK[:120]])[0]) == 1
    assert made.notes == (
        f"{tmp_path}/v.csv: points of 1 face(s) lie outside of the picture, by up to 8.0 pixels",
    )


def test_a_missing_or_binary_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"SN002\.csv is missing: each video needs a CSV"):
        options.detector(AlignmentRecipe(), tmp_path, "SN002")
    (tmp_path / "v.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="cannot be read as CSV"):
        precomputed.read(tmp_path / "v.csv")


def _options(*arguments):
    parser = argparse.ArgumentParser()
    options.add_arguments(parser.add_argument_group("faces"))
    return parser.parse_args(arguments)


def test_options_become_a_recipe(tmp_path):
    recipe = options.recipe(_options("--detect-every", "2", "--max-gap", "0", "--smoothing", "none"))
    assert (recipe.detector, recipe.detect_every, recipe.max_gap, recipe.smoothing) == ("mtcnn", 2, 0, "none")
    recipe = options.recipe(_options("--detections", str(tmp_path), "--smoothing-causal"))
    assert (recipe.detector, recipe.detector_version, recipe.detect_every) == ("precomputed", "1", 1)
    assert recipe.smoothing_causal
    with pytest.raises(ValueError, match="max_gap must be at least 0"):
        options.recipe(_options("--max-gap", "-1"))


def test_detectors_that_are_not_there_are_named():
    with pytest.raises(ValueError, match="'retina' is unknown; known: mtcnn, precomputed"):
        options.detector(AlignmentRecipe(detector="retina"), None, "v")
    with pytest.raises(ValueError, match="found by another program"):
        options.detector(AlignmentRecipe(detector="precomputed"), None, "v")
