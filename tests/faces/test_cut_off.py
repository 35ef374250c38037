"""Videos whose end is missing are recognised, whatever they are made of; whole ones are not accused."""

import av
import numpy as np
import pytest

from mdhr_jax.faces import media
from mdhr_jax.faces.cut_off import cut_off

FRAMES = 12
# Name, codec, options of the container.
KINDS = {
    "index first.mp4": ("mpeg4", {"movflags": "faststart"}),
    "in pieces.mp4": ("mpeg4", {"movflags": "frag_keyframe+empty_moov"}),
    "a.mov": ("mpeg4", {"movflags": "faststart"}),
    "a.mkv": ("mpeg4", {}),
    "a.avi": ("mpeg4", {}),
}


def write(path, kind):
    codec, options = KINDS[kind]
    rng = np.random.default_rng(0)
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=25, options={"g": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(FRAMES):
            pixels = rng.integers(0, 256, (64, 64, 3), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def read(path):
    """Frames up to an error, and the error."""
    frames = media.Recording("a", (path,)).frames()
    count = 0
    try:
        for _ in frames:
            count += 1
    except ValueError as error:
        return count, str(error)
    return count, ""


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_end(kind, tmp_path):
    whole = write(tmp_path / kind, kind)
    assert cut_off(whole) == ""
    assert read(whole) == (FRAMES, "")
    content = whole.read_bytes()
    for share in (0.5, 0.8):
        whole.write_bytes(content[: int(share * len(content))])
        count, error = read(whole)
        assert 0 < count < FRAMES
        assert f"frames read before it: {count}" in error
    # Something behind the end is no damage.
    whole.write_bytes(content + b"\0\0\1\0made by a camera" + bytes(40))
    assert cut_off(whole) == ""


def test_between_two_frames_decoders_do_not_notice(tmp_path):
    """What is there of a Matroska file can be read without an error; only its length tells."""
    path = write(tmp_path / "a.mkv", "a.mkv")
    content = path.read_bytes()
    path.write_bytes(content[: int(0.7 * len(content))])
    count, error = read(path)
    assert (
        f"frame {count + 1}: it is cut off: {path.stat().st_size} of {len(content)} bytes are there" in error
    )


def test_what_does_not_say_how_long_it_is(tmp_path):
    for content in (b"", b"RIFF", b"\0\0\0\x08", bytes.fromhex("1A45DFA3"), b"nothing of the kind" * 9):
        (tmp_path / "a").write_bytes(content)
        assert cut_off(tmp_path / "a") == ""
    # A live stream: segment of unknown length.
    (tmp_path / "a").write_bytes(bytes.fromhex("1A45DFA380 18538067 01FFFFFFFFFFFFFF") + bytes(20))
    assert cut_off(tmp_path / "a") == ""
