"""Pictures and videos as players show them, by both readers: upright, pixels square; and what is neither."""

import fractions
import struct

import av
import numpy as np
import pytest
from PIL import Image

from data_prep import raw
from data_prep.raw import VideoFrames
from mdhr_jax.faces import media, video_file
from mdhr_jax.predict import second_look

WIDTH, HEIGHT = 160, 128
# EXIF orientation: how a stored picture must be changed to be seen as it was taken.
ORIENTATIONS = {
    1: lambda p: p,
    2: np.fliplr,
    3: lambda p: np.rot90(p, 2),
    4: np.flipud,
    5: lambda p: np.swapaxes(p, 0, 1),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: np.swapaxes(np.rot90(p, 2), 0, 1),
    8: lambda p: np.rot90(p, 1),
}
# Matrix of an MP4 file's track, (x, y) to (ax + cy, bx + dy) with y downwards, and quarter turns to the left.
MATRICES = {
    "portrait": ((0, 1, -1, 0), -1),
    "portrait, other way": ((0, -1, 1, 0), 1),
    "on its head": ((-1, 0, 0, -1), 2),
}


def corners():
    """A picture whose quarters differ."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[: HEIGHT // 2, : WIDTH // 2] = (200, 40, 40)
    picture[: HEIGHT // 2, WIDTH // 2 :] = (40, 200, 40)
    picture[HEIGHT // 2 :, : WIDTH // 2] = (40, 40, 200)
    return picture


def write_picture(path, orientation=None):
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(corners()).save(path, exif=exif)
    return path


def write_video(path, matrix, aspect=1):
    """An MP4 file of two frames whose track has a matrix, and pixels an aspect."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.sample_aspect_ratio = fractions.Fraction(aspect)
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(corners(), format="rgb24")))
        container.mux(stream.encode())
    data = bytearray(path.read_bytes())
    # PyAV cannot write one. Version and flags, five numbers of four bytes, 16 bytes, then the matrix.
    place = data.index(b"tkhd") + 4 + 4 + 20 + 16
    one = 1 << 16
    assert struct.unpack_from(">9i", data, place) == (one, 0, 0, 0, one, 0, 0, 0, 1 << 30)
    a, b, c, d = (one * number for number in matrix)
    struct.pack_into(">9i", data, place, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)
    return path


def frames_of_both(path):
    yield from media.Recording(path.name, (path,)).frames()
    yield from VideoFrames(path)(np.array([1, 2], np.int32), 1)


@pytest.mark.parametrize("case", MATRICES)
def test_a_video_is_turned_as_its_file_says(tmp_path, case):
    matrix, turns = MATRICES[case]
    lying = next(frames_of_both(write_video(tmp_path / "lying.mp4", (1, 0, 0, 1))))
    assert np.abs(lying.astype(int) - corners()).mean() < 10
    frames = list(frames_of_both(write_video(tmp_path / "turned.mp4", matrix)))
    assert len(frames) == 4
    for frame in frames:
        # The second frame is encoded anew, not to the last level.
        assert np.abs(frame.astype(int) - np.rot90(lying, turns)).mean() < 2
        assert frame.flags.c_contiguous


@pytest.mark.parametrize(
    ("aspect", "width", "height"), [("4/3", 213, 128), ("2", 320, 128), ("3/4", 160, 171), ("1/9", 160, 128)]
)
@pytest.mark.parametrize("turns", [0, -1])
def test_pixels_that_are_not_square_are_made_so(tmp_path, aspect, width, height, turns):
    matrix = (1, 0, 0, 1) if not turns else MATRICES["portrait"][0]
    path = write_video(tmp_path / "a.mp4", matrix, aspect)
    expected = np.asarray(Image.fromarray(corners()).resize((width, height), Image.Resampling.BICUBIC))
    for frame in frames_of_both(path):
        assert frame.shape == np.rot90(expected, turns).shape
        assert np.abs(frame.astype(int) - np.rot90(expected, turns)).mean() < 10
    # And so they are where the recording is looked at again.
    shown = second_look.Shown(next(video_file.decode(path)))
    assert (shown.height, shown.width) == np.rot90(expected, turns).shape[:2]
    np.testing.assert_array_equal(shown.whole(), next(frames_of_both(path)))
    half = shown.resized(shown.width // 2, shown.height // 2)
    assert half.shape[:2] == (shown.height // 2, shown.width // 2)


def test_the_cover_of_a_sound_file_is_no_video(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 16000
        container.mux(cover.encode(av.VideoFrame.from_ndarray(corners(), format="rgb24")))
        container.mux(cover.encode())
        container.mux(sound.encode(samples))
        container.mux(sound.encode())
    for read in (video_file.length, video_file.rate, lambda file: list(video_file.decode(file))):
        with pytest.raises(ValueError, match="holds no video, only a cover picture and sound"):
            read(path)


def test_a_turned_video_that_is_made_smaller(tmp_path):
    path = write_video(tmp_path / "turned.mp4", MATRICES["portrait"][0])
    (frame,) = VideoFrames(path)(np.array([1], np.int32), 2)
    assert frame.shape == (WIDTH // 2, HEIGHT // 2, 3)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_picture_is_turned_as_its_exif_data_say(tmp_path, orientation, suffix):
    plain, path = write_picture(tmp_path / f"a{suffix}"), write_picture(tmp_path / f"b{suffix}", orientation)
    expected = ORIENTATIONS[orientation](raw.read_image(plain, 1))
    np.testing.assert_array_equal(raw.read_image(path, 1), expected)
    np.testing.assert_array_equal(media.read_image(path), expected)
    for reduce in (2, 4):
        smaller = ORIENTATIONS[orientation](raw.read_image(plain, 1, reduce))
        np.testing.assert_array_equal(raw.read_image(path, 1, reduce), smaller)
        assert sorted(smaller.shape[:2]) == [HEIGHT // reduce, WIDTH // reduce]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0nonsense", b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01"])
def test_a_picture_whose_exif_data_are_damaged(tmp_path, exif):
    Image.fromarray(corners()).save(tmp_path / "a.jpg", exif=exif)
    assert raw.read_image(tmp_path / "a.jpg", 1).shape == (HEIGHT, WIDTH, 3)


def test_a_video_that_was_cut_off_is_refused_by_both_readers(tmp_path):
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for _ in range(4):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(corners(), format="rgb24")))
        container.mux(stream.encode())
    content = path.read_bytes()
    # In the middle of the last frame.
    path.write_bytes(content[: content.rindex(b"\xff\xd8") + 300])
    for frames in (
        media.Recording("a", (path,)).frames(),
        VideoFrames(path)(np.arange(1, 5, dtype=np.int32), 1),
    ):
        assert [next(frames).shape for _ in range(3)] == [(HEIGHT, WIDTH, 3)] * 3
        with pytest.raises(ValueError, match=r"a\.avi, frame 4: is not complete; frames read before it: 3"):
            next(frames)


def test_sixteen_bits_of_grey_are_reduced_and_not_cut_off(tmp_path):
    grey = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64) * 16
    Image.fromarray(grey).save(tmp_path / "deep.png")
    found = media.read_image(tmp_path / "deep.png")
    np.testing.assert_array_equal(found, np.repeat((grey >> 8).astype(np.uint8)[..., None], 3, 2))
    Image.fromarray(np.full((64, 64, 4), (10, 20, 30, 128), np.uint8)).save(tmp_path / "alpha.png")
    assert (media.read_image(tmp_path / "alpha.png") == (10, 20, 30)).all()


@pytest.mark.parametrize(("dtype", "what"), [(np.float32, "floating-point"), (np.int32, "32-bit integers")])
def test_grey_levels_that_do_not_say_what_is_white_are_refused(tmp_path, dtype, what):
    Image.fromarray(np.full((8, 8), 200, dtype)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=rf"a\.tif has grey levels that are {what}.*save it with 8 or 16"):
        media.read_image(tmp_path / "a.tif")


def test_pictures_of_several_pages_are_refused(tmp_path):
    pages = [Image.fromarray(np.full((8, 8, 3), level, np.uint8)) for level in (10, 20, 30)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match="holds 3 pictures; save each in a file"):
        media.read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"II*\0\x08\0\0\0\xff\xff"])
def test_pictures_that_are_none(tmp_path, content):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as a picture" if content else "is empty"):
        media.read_image(tmp_path / "a.png")


def test_hidden_files_of_a_folder_are_left_out(tmp_path):
    for name in ("f1.png", "f2.png"):
        write_picture(tmp_path / name)
        # As macOS writes them on disks of others.
        (tmp_path / f"._{name}").write_bytes(b"\0\x05\x16\x07")
    (recording,) = media.recordings([tmp_path])
    assert [path.name for path in recording.paths] == ["f1.png", "f2.png"]
    (tmp_path / "._a.mp4").touch()
    assert media.recordings([tmp_path]) == [recording]
    (tmp_path / "a.mp4").touch()
    with pytest.raises(ValueError, match="folder of pictures and of videos"):
        media.recordings([tmp_path])
