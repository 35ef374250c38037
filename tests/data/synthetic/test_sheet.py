"""The pictures to look at, and the command line that makes them."""

import sys
import types

import numpy as np
import pytest
from PIL import Image

from mdhr_jax.data.synthetic import __main__ as command
from mdhr_jax.data.synthetic import generator, sheet

SPEC = generator.SyntheticSpec(like="disfa", subjects=3, videos_per_subject=1, frames_per_video=12, size=64)


def test_contact_sheet_has_a_row_an_au_and_a_column_a_subject():
    small = sheet.contact_sheet(SPEC, 1, cell=64)
    wide = sheet.contact_sheet(SPEC, [0, 2], cell=64)
    assert small.shape[0] == wide.shape[0] >= (1 + SPEC.au_set.num_aus) * 64
    assert wide.shape[1] - small.shape[1] >= 64
    neutral = generator.apex_picture(SPEC, SPEC.videos()[0], {})
    rows = [small[34 + row * 67 : 98 + row * 67, 196:260] for row in range(1 + SPEC.au_set.num_aus)]
    np.testing.assert_array_equal(rows[0], neutral)
    assert all(not np.array_equal(row, neutral) for row in rows[1:])
    with pytest.raises(ValueError, match="subjects 0 to 2"):
        sheet.contact_sheet(SPEC, [5])


def test_strips_show_each_au_rising_and_falling():
    strips = sheet.au_strips(SPEC, cell=64)
    for row in range(SPEC.au_set.num_aus):
        top = 34 + row * 67
        cells = [strips[top : top + 64, 196 + i * 67 : 260 + i * 67].astype(float) for i in range(8)]
        away = [np.abs(cell - cells[0]).mean() for cell in cells]
        assert int(np.argmax(away)) == 4
        assert 0 < away[1] < away[3] < away[4] > away[5] > away[7] > 0


def test_clip_strip_marks_presence_under_the_frames():
    video = SPEC.videos()[0]
    clip = generator.render_video(SPEC, video)
    picture = sheet.clip_strip(SPEC, video, rendered=clip, shots=4, cell=64)
    clip.labels[:] = 0
    blank = sheet.clip_strip(SPEC, video, rendered=clip, shots=4, cell=64)
    assert picture.dtype == np.uint8
    assert picture.shape == blank.shape
    assert picture.shape[1] > picture.shape[0]
    assert not np.array_equal(picture, blank)
    with pytest.raises(ValueError, match="12 frames"):
        sheet.clip_strip(SPEC, video, rendered=clip, shots=13)


def test_the_command_draws_a_sheet(tmp_path, capsys):
    path = tmp_path / "sheet.png"
    arguments = ["--sheet", str(path), "--like", "disfa", "--subjects", "3", "--sheet-subjects", "1"]
    assert command.main(arguments) == 0
    with Image.open(path) as picture:
        assert picture.size[1] > 1000
    assert str(path) in capsys.readouterr().out
    assert [file.name for file in tmp_path.iterdir()] == ["sheet.png"]


def test_the_command_writes_each_data_set(tmp_path, monkeypatch):
    calls = []
    fake = types.ModuleType("mdhr_jax.data.builders")
    write = {"write_synthetic": lambda out, spec, workers=None: calls.append((out, spec, workers))}
    vars(fake).update(write)
    monkeypatch.setitem(sys.modules, "mdhr_jax.data.builders", fake)
    monkeypatch.setattr("mdhr_jax.data.builders", fake, raising=False)
    options = [
        "--like",
        "both",
        "--seed",
        "7",
        "--subjects",
        "6",
        "--videos",
        "2",
        "--frames",
        "32",
        "--workers",
        "2",
    ]
    assert command.main(["--out", str(tmp_path), *options]) == 0
    assert [spec.like for _, spec, _ in calls] == ["bp4d", "disfa"]
    out, spec, workers = calls[0]
    assert (out, workers) == (tmp_path, 2)
    assert (spec.seed, spec.subjects, spec.videos_per_subject, spec.frames_per_video) == (7, 6, 2, 32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to do"),
        (["--sheet", "x.png", "--preset", "hard"], "known: easy"),
        (["--sheet", "x.png", "--like", "ck"], "bp4d or disfa"),
        (["--sheet", "x.png", "--workers", "0"], "--workers"),
        (["--sheet", "x.png", "--sheet-subjects", "0"], "--sheet-subjects"),
        (["--sheet", "missing/x.png", "--subjects", "3", "--sheet-subjects", "1"], "does not exist"),
        (["--sheet", "x.gif", "--subjects", "3", "--sheet-subjects", "1"], "must end in"),
    ],
)
def test_mistakes_end_in_a_message_and_code_2(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
