"""Overlays as they are read back: times, boxes and bars; and which files are left alone."""

import fractions
import struct

import av
import numpy as np
import pytest
from PIL import Image

from mdhr_jax.predict import views
from mdhr_jax.predict.overlay import film
from mdhr_jax.predict.overlay import layout as overlay_layout
from mdhr_jax.predict.overlay.layout import MARGIN, MOST, layout
from mdhr_jax.predict.overlay.painter import ABSENT, BOXES, PRESENT, Painter, slots
from mdhr_jax.predict.reading import Person, overview
from mdhr_jax.predict.rows import Row
from mdhr_jax.predict.trail import Spot
from tests.predict.conftest import AU_SET
from tests.predict.looks import LOST, TIMES, scene
from tests.predict.scene import HEIGHT, WIDTH, DotDetector, frame
from tests.predict.test_command import write_detections, write_video

pytestmark = pytest.mark.usefixtures("unoptimized")
NAMES = AU_SET.au_names


def read(path):
    """Times in seconds, and pictures."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        return (
            [float(one.pts * one.time_base) for one in frames],
            [one.to_ndarray(format="rgb24") for one in frames],
            container.streams.video[0],
        )


def near(pixels, colour, tolerance=60):
    """Which pixels have a colour, but for what the codec makes of it."""
    return np.abs(pixels.astype(int) - np.asarray(colour)).max(-1) < tolerance


def arranged(faces, *, timeline=True):
    return layout(WIDTH, HEIGHT, faces, len(NAMES), timeline=timeline)


def test_every_frame_is_shown_when_it_was(made):
    times, pictures, stream = read(made.path("talk", ".mp4"))
    np.testing.assert_allclose(times, (np.asarray(TIMES) - TIMES[0]) / 1000, atol=1e-6)
    np.testing.assert_allclose(times, made.table("talk").groupby("frame").timestamp.first(), atol=1e-6)
    assert stream.codec_context.name == "h264"
    expected = arranged(2)
    assert {picture.shape for picture in pictures} == {(expected.height, expected.width, 3)}
    assert expected.height % 2 == expected.width % 2 == 0
    assert [path.suffix for path in made.out.iterdir()].count(".part") == 0


def test_boxes_are_where_the_faces_are(made):
    _, pictures, _ = read(made.path("talk", ".mp4"))
    left, top, wide, _ = arranged(2).fit(WIDTH, HEIGHT)
    scale = wide / WIDTH
    found = DotDetector().detect(scene())
    for t, (picture, faces) in enumerate(zip(pictures, found, strict=True)):
        place = picture[: arranged(2).picture[1], : arranged(2).picture[0]]
        # The person who moves is at the left and has the first section's colour.
        for face, colour in zip(faces, BOXES, strict=False):
            x0, y0, x1, y1 = (face.box * scale + [left, top, left, top]).round().astype(int)
            sides = (
                place[(y0 + y1) // 2, x0 : x0 + 3],
                place[(y0 + y1) // 2, x1 - 3 : x1],
                place[y1 - 3 : y1, (x0 + x1) // 2],
            )
            for side in sides:
                assert near(side, colour, 90).any(), (t, colour)
        if t in LOST:
            assert near(place, BOXES[0]).sum() < 20


def bar(picture, plan, slot, au):
    """How far an AU's bar goes, as a share of its length, and whether it is filled."""
    x, y = plan.sections[slot]
    left = x + MARGIN + plan.style.names + plan.style.marks
    wide = plan.style.bars - 8
    middle = y + plan.style.head + au * plan.style.row + plan.style.row // 2
    rows = picture[middle - 4 : middle + 5, left : left + wide]
    filled = near(rows, PRESENT).mean(0) > 0.8
    outline = near(picture[middle - plan.style.row // 2 + 3, left : left + wide][None], ABSENT).mean(0) > 0.8
    chosen = filled if filled.any() else outline
    return (np.flatnonzero(chosen).max() + 1) / wide if chosen.any() else 0.0, bool(filled.any())


def test_bars_are_the_scores(made):
    _, pictures, _ = read(made.path("talk", ".mp4"))
    table = made.table("talk")
    checked = 0
    for row in table[table.success == 1].itertuples():
        for au, column in enumerate(("AU01", "AU12")):
            score, present = getattr(row, f"{column}_p"), getattr(row, f"{column}_c")
            share, filled = bar(pictures[row.frame - 1], arranged(2), int(row.face_id), au)
            assert filled == bool(present)
            assert share == pytest.approx(score, abs=0.05)
            checked += 1
    assert checked > 2 * len(TIMES) - 10
    # No face, no bars.
    for au in range(2):
        assert bar(pictures[LOST[0]], arranged(2), 0, au) == (0.0, False)


def test_pictures_get_a_picture_and_folders_a_video(made):
    with Image.open(made.path("still", ".png")) as image:
        expected = arranged(2, timeline=False)
        assert image.size == (expected.width, expected.height)
        for slot, score in enumerate(made.table("still").AU12_p):
            assert bar(np.asarray(image), expected, slot, 1)[0] == pytest.approx(score, abs=0.02)
    assert not made.path("still", ".mp4").exists()
    times, *_ = read(made.path("series", ".mp4"))
    np.testing.assert_allclose(times, [0, 0.1, 0.2], atol=1e-6)
    times, pictures, _ = read(made.path("nobody", ".mp4"))
    np.testing.assert_allclose(times, np.arange(5) / 25, atol=1e-6)
    assert not near(pictures[0], BOXES[0]).any()


def test_videos_that_lie_on_their_side_are_turned(made, tmp_path):
    """As phones store them: a turn by 90 degrees stands in the file."""
    upright = [np.ascontiguousarray(frame((60 + t, 80))[:, :160]) for t in range(3)]
    lying = [np.ascontiguousarray(np.rot90(picture)) for picture in upright]
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, options={"b:v": "3000000"})
        stream.height, stream.width = lying[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for pixels in lying:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40
    content[matrix : matrix + 36] = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    path.write_bytes(content)
    # The other program saw what players show.
    write_detections(made.root / "faces", "phone", upright)
    assert made.predict(path, "--overlay", out=tmp_path / "out") == 0
    _, pictures, _ = read(tmp_path / "out" / "phone.mp4")
    plan = layout(160, 160, 1, len(NAMES), timeline=True)
    left, top, wide, high = plan.fit(160, 160)
    for picture, expected in zip(pictures, upright, strict=True):
        place = picture[top : top + high, left : left + wide]
        large = np.asarray(Image.fromarray(expected).resize((wide, high)))
        assert np.abs(place.astype(int) - large).mean() < 12


@pytest.mark.parametrize("num_aus", [2, 12, 30])
@pytest.mark.parametrize("faces", [0, 1, 4, 9, 20, 60])
@pytest.mark.parametrize(
    "size", [(7680, 4320), (1920, 1080), (1080, 1920), (640, 360), (64, 48), (3000, 100), (161, 121)]
)
def test_layouts_fit_everything_in(size, faces, num_aus):
    for timeline in (False, True):
        plan = layout(*size, faces, num_aus, timeline=timeline)
        assert plan.width % 2 == plan.height % 2 == 0
        assert plan.width <= MOST[0]
        assert plan.height <= MOST[1] + overlay_layout.FOOTER or num_aus == 30
        left, top, wide, high = plan.fit(*size)
        assert left >= 0
        assert top >= 0
        assert left + wide <= plan.picture[0]
        assert top + high <= plan.picture[1]
        assert wide / high == pytest.approx(size[0] / size[1], rel=0.06)
        for x, y in plan.sections:
            assert x >= plan.picture[0]
            assert x + plan.style.width(timeline) <= plan.width
            assert y + plan.style.height(num_aus) <= plan.height
        assert len(set(plan.sections)) == len(plan.sections) >= min(max(faces, 1), 2)
        if num_aus == 12:
            assert len(plan.sections) == max(1, min(faces, 20)) or faces == 60


def person(face_id, first, last):
    nothing = np.zeros(len(NAMES), int)
    best = np.zeros(len(NAMES), np.float32)
    return Person(face_id, first, last, last - first + 1, np.zeros(len(NAMES)), nothing, best, nothing)


def test_a_section_that_is_free_is_taken_again():
    people = {i: person(i, *seen) for i, seen in enumerate([(1, 5), (2, 9), (6, 8), (6, 9), (10, 12)])}
    assert slots(people) == {0: 0, 1: 1, 2: 0, 3: 2, 4: 0}


def test_a_timeline_shows_what_was():
    """Height by score, filled where present, dark where there was no face; the newest at the right."""
    plan = arranged(1)
    people = {0: person(0, 1, 300)}
    painter = Painter(plan, people, NAMES, dict.fromkeys(NAMES, 0.5))
    blank = np.zeros((*plan.fit(WIDTH, HEIGHT)[:1:-1], 3), np.uint8)
    spot = Spot(0, 0, np.asarray([10, 10, 40, 40], np.float32), np.zeros((2, 3)))
    for t in range(300):
        gap = 100 <= t < 200
        scores = np.asarray([0.75, 0.25 if t < 100 else 0.9], np.float32)
        row = Row(
            t + 1, *((None, t / 30, None, None, None) if gap else (0, t / 30, 1.0, scores, scores > 0.5))
        )
        last = painter.draw(blank, 1.0, [] if gap else [spot], [row])
    x, y = plan.sections[0]
    left = x + MARGIN + sum((plan.style.names, plan.style.marks, plan.style.bars, plan.style.numbers))
    wide, high = plan.style.history - 4, plan.style.row - 3
    for au, (first, third) in enumerate(((0.75, 0.75), (0.25, 0.9))):
        top = y + plan.style.head + au * plan.style.row + plan.style.row // 2 - high // 2
        place = last[top : top + high, left : left + wide]
        shown = near(place, PRESENT, 5) | near(place, ABSENT, 5)
        level = shown.mean(0)
        for part, expected in ((slice(2, wide // 3 - 2), first), (slice(2 * wide // 3 + 2, wide), third)):
            assert level[part].mean() == pytest.approx(expected, abs=0.1)
            assert near(place[:, part], PRESENT, 5).any() == (expected > 0.5)
        assert not shown[:, wide // 3 + 2 : 2 * wide // 3 - 2].any()


def test_without_h264_something_else_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(film, "CODECS", ("there_is_none", "mpeg4"))
    film.codec.cache_clear()
    try:
        path = tmp_path / "film"
        # A unit that this codec cannot count in.
        with film.Film(path, 64, 48, fractions.Fraction(30), fractions.Fraction(1, 90_000)) as written:
            for time in (0, 3000, 4000, 90_000):
                written.write(np.zeros((48, 64, 3), np.uint8), time, 1000)
        times, _, stream = read(path)
        np.testing.assert_allclose(times, [0, 1 / 30, 4 / 90, 1], atol=2e-5)
        assert stream.codec_context.name == "mpeg4"
        assert "no there_is_none; videos are written as mpeg4" in capsys.readouterr().err
    finally:
        film.codec.cache_clear()


def test_frames_without_times_of_their_own_follow_each_other(tmp_path):
    path = tmp_path / "film"
    with film.Film(path, 64, 48, fractions.Fraction(25), fractions.Fraction(1, 1000)) as written:
        for time in (0, 40, 40, 30, 200):
            written.write(np.zeros((48, 64, 3), np.uint8), time, 40)
    times, *_ = read(path)
    np.testing.assert_allclose(times, [0, 0.04, 0.041, 0.042, 0.2], atol=1e-6)


def state(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_only_what_is_missing_is_made(made, tmp_path, capsys):
    out = tmp_path / "out"
    talk = made.inputs["talk"]
    assert made.predict(talk, out=out) == 0
    before = state(out)
    capsys.readouterr()
    assert made.predict(talk, "--overlay", out=out) == 0
    said = capsys.readouterr()
    assert "where its faces are is looked for again" in said.err
    assert "done before" in said.out
    assert ".mp4" in said.out
    after = state(out)
    assert {name for name in after if before.get(name) != after[name]} == {
        made.path("talk", ending).name for ending in (".mp4", ".json")
    }
    # The same as in one go.
    np.testing.assert_array_equal(
        read(out / made.path("talk", ".mp4").name)[1], read(made.path("talk", ".mp4"))[1]
    )
    assert made.predict(talk, "--overlay", out=out) == 0
    assert state(out) == after
    # A table that is made anew keeps what is there.
    (out / made.path("talk", ".csv").name).unlink()
    assert made.predict(talk, "--overlay", "--report", out=out) == 0
    again = state(out)
    assert {name for name in again if after.get(name) != again[name]} == {
        made.path("talk", ending).name for ending in (".csv", ".html", ".json")
    }


def test_recordings_are_never_overwritten(made, tmp_path):
    """Not even where the results go beside them."""
    video = write_video(tmp_path / "talk.mp4", scene()[:3])
    Image.fromarray(scene()[0]).save(tmp_path / "still.png")
    for name in ("talk", "still"):
        write_detections(made.root / "faces", name, scene()[:3] if name == "talk" else scene()[:1])
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    given = [video, tmp_path / "still.png"]
    for _ in range(2):
        assert made.predict(*given, "--overlay", out=tmp_path) == 0
        assert {path: path.read_bytes() for path in before} == before
        assert sorted(path.name for path in tmp_path.iterdir() if path not in before) == [
            *(f"still_2.{kind}" for kind in ("csv", "json", "png")),
            *(f"talk_2.{kind}" for kind in ("csv", "json", "mp4")),
        ]


def test_what_goes_wrong_leaves_no_half_overlay(made, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    talk = made.inputs["talk"]
    original = film.Film.write
    written = 0

    def write(self, picture, time, duration):
        nonlocal written
        written += 1
        if written == 4:
            assert list(out.glob("*.part"))
            assert not list(out.glob("*.mp4"))
            raise failures[code]
        original(self, picture, time, duration)

    monkeypatch.setattr(film.Film, "write", write)
    failures = {130: KeyboardInterrupt(), 1: ValueError("gone wrong")}
    for code in failures:
        written = 0
        assert made.predict(talk, "--overlay", out=out) == code
        # The table was complete before.
        assert sorted(path.suffix for path in out.iterdir()) == [".csv", ".json"]
    assert "gone wrong" in capsys.readouterr().err
    monkeypatch.undo()
    assert made.predict(talk, "--overlay", out=out) == 0
    assert len(read(out / made.path("talk", ".mp4").name)[0]) == len(TIMES)


def test_a_camera_cannot_be_read_twice(tmp_path):
    from mdhr_jax.faces.media import Recording

    camera = Recording("camera 0", (tmp_path / "video0",))
    with pytest.raises(ValueError, match="second time"):
        views.Views(camera, tmp_path, overlay=True, report=False)
    views.Views(camera, tmp_path, overlay=False, report=False)


def test_an_overview_of_a_table(made):
    found = overview(made.path("talk", ".csv"), AU_SET.aus)
    table = made.table("talk")
    assert (found.frames, found.with_face, found.timed) == (len(TIMES), len(TIMES) - len(LOST), True)
    assert found.end == pytest.approx(1.4)
    for number, one in found.people.items():
        rows = table[table.face_id == number]
        assert (one.first, one.last, one.frames) == (rows.frame.min(), rows.frame.max(), len(rows))
        np.testing.assert_allclose(one.mean, rows.filter(like="_p").mean(), rtol=1e-6)
        np.testing.assert_array_equal(one.present, rows.filter(like="_c").sum())
        for au, column in enumerate(("AU01_p", "AU12_p")):
            assert one.best_frame[au] == rows.frame[rows[column].idxmax()]
