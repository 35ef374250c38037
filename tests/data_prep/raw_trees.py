"""Raw trees in the true layout of BP4D and DISFA, with faces of the synthetic generator and numbered frames.

Every frame says its own number in a row of black and white blocks along its upper edge, so that tests verify
by content that a label ends on the right frame. `draw_number` puts the row anywhere else.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from mdhr_jax import facs
from mdhr_jax.data.synthetic import generator

BP4D_SIZE = (1040, 1392)
DISFA_SIZE = (1024, 768)
"""Width and height of the recordings, pixels."""

BP4D_COLUMNS = (*range(1, 3), *range(4, 8), *range(9, 21), *range(22, 25), *range(27, 40))
"""AUs of a label file of BP4D in its order; most are none of ours."""

DISFA_AUS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)

_BITS = 16
# A white and a black block to compare the others with, the bits, and their parity.
_BLOCKS = 2 + _BITS + 1
_GREY = 128

Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


def draw_number(picture: np.ndarray, number: int, box: Box | None = None) -> np.ndarray:
    """The picture with its number, 0 to 65535, in a box; by default along the upper edge."""
    if not 0 <= number < 1 << _BITS:
        raise ValueError(f"a number from 0 to {(1 << _BITS) - 1} can be drawn, found {number}")
    bits = [number >> bit & 1 for bit in reversed(range(_BITS))]
    picture = picture.copy()
    for value, (left, top, right, bottom) in zip(
        [1, 0, *bits, sum(bits) % 2], _blocks(picture, box), strict=True
    ):
        picture[round(top) : round(bottom), round(left) : round(right)] = 255 * value
    return picture


def read_number(picture: np.ndarray, box: Box | None = None) -> int:
    """The number drawn; pictures may have been compressed, scaled, or changed in brightness since.

    Raises:
        ValueError: there is none.
    """
    levels = []
    for left, top, right, bottom in _blocks(picture, box):
        # Borders of blocks are blurred.
        x, y = (right - left) / 4, (bottom - top) / 4
        rows = slice(round(top + y), max(round(bottom - y), round(top + y) + 1))
        columns = slice(round(left + x), max(round(right - x), round(left + x) + 1))
        levels.append(float(picture[rows, columns].mean()))
    white, black, *rest = levels
    bits = [level > (white + black) / 2 for level in rest]
    if white - black < 64 or sum(bits[:-1]) % 2 != bits[-1]:
        raise ValueError(f"there is no number in the picture; its blocks are {np.round(levels)}")
    return sum(bit << place for place, bit in enumerate(reversed(bits[:-1])))


def _blocks(picture: np.ndarray, box: Box | None) -> list[Box]:
    height, width = picture.shape[:2]
    left, top, right, bottom = box or (0, 0, width, height / 16)
    edges = np.linspace(left, right, _BLOCKS + 1).tolist()
    return [(a, top, b, bottom) for a, b in itertools.pairwise(edges)]


def faces(count: int, like: str = "bp4d", subject: int = 0, preset: str = "easy") -> np.ndarray:
    """Frames of one synthetic subject in the canonical crop, (count, 256, 256, 3)."""
    spec = generator.SyntheticSpec(
        like=like,
        preset=preset,
        subjects=max(subject + 1, 3),
        videos_per_subject=1,
        frames_per_video=max(count, 2),
    )
    return generator.render_video(spec, spec.videos()[subject]).frames[:count]


def place(
    face: np.ndarray,
    size: tuple[int, int],
    edge: int | None = None,
    centre: tuple[float, float] | None = None,
) -> np.ndarray:
    """A face on a grey picture, with a border of repeated edge pixels, so that a detector can find it.

    Args:
        face: in the canonical crop, which ends at the hairline.
        size: width and height of the picture.
        edge: side of the crop in the picture, pixels; by default half of the shorter side.
        centre: of the crop (x, y); by default that of the picture.
    """
    width, height = size
    edge = edge or min(size) // 2
    x, y = centre or (width / 2, height / 2)
    resized = np.asarray(Image.fromarray(face).resize((edge, edge), Image.Resampling.LANCZOS))
    border = round(0.4 * edge)
    patch = np.pad(resized, ((border, border), (border, border), (0, 0)), mode="edge")
    picture = Image.new("RGB", size, (_GREY,) * 3)
    picture.paste(Image.fromarray(patch), (round(x - edge / 2) - border, round(y - edge / 2) - border))
    return np.asarray(picture)


def frame(number: int, size: tuple[int, int], face: np.ndarray | None = None) -> np.ndarray:
    """A frame of a recording that says its number, with or without a face."""
    plain = np.full((size[1], size[0], 3), _GREY, np.uint8)
    return draw_number(plain if face is None else place(face, size), number)


@dataclasses.dataclass(frozen=True)
class Bp4dVideo:
    """A video of a raw BP4D tree.

    Attributes:
        name: such as ``F001_T1``.
        numbers: labelled frames.
        labels: 0, 1 or -1 in label order; by default drawn from the name.
        unlabelled: further frames.
        width: digits of the file names, filled up with zeros.
        suffix: of the file names.
        faces: of the labelled frames; grey pictures by default.
    """

    name: str
    numbers: Sequence[int]
    labels: np.ndarray | None = None
    unlabelled: Sequence[int] = ()
    width: int = 0
    suffix: str = ".jpg"
    faces: np.ndarray | None = None

    def all_labels(self) -> np.ndarray:
        if self.labels is not None:
            return self.labels
        rng = np.random.default_rng(list(self.name.encode()))
        return rng.integers(0, 2, (len(self.numbers), facs.BP4D.num_aus)).astype(np.int8)


def write_bp4d(
    root: Path,
    videos: Sequence[Bp4dVideo],
    size: tuple[int, int] = (208, 278),
    pictures: str = "2D+3D",
    codes: str = "AUCoding/AU_OCC",
) -> Path:
    """Writes a raw BP4D tree; returns its folder."""
    (root / codes).mkdir(parents=True, exist_ok=True)
    for video in videos:
        folder = root / pictures / video.name.replace("_", "/")
        folder.mkdir(parents=True)
        of_number = dict(
            zip(
                video.numbers,
                [None] * len(video.numbers) if video.faces is None else video.faces,
                strict=True,
            )
        )
        for number in (*video.numbers, *video.unlabelled):
            picture = frame(number, size, of_number.get(number))
            file = folder / f"{number:0{video.width}d}{video.suffix}"
            Image.fromarray(picture).save(file, "JPEG", quality=92)
        write_codes(root / codes / f"{video.name}.csv", video.numbers, video.all_labels())
    return root


def write_codes(file: Path, numbers: Sequence[int], labels: np.ndarray) -> None:
    """Writes a label file of BP4D; the AUs that are none of ours have any value."""
    rng = np.random.default_rng(len(numbers))
    lines = [",".join(map(str, (0, *BP4D_COLUMNS)))]
    for number, row in zip(numbers, labels, strict=True):
        values = rng.choice([0, 1, 9], len(BP4D_COLUMNS)).tolist()
        for au, value in zip(facs.BP4D.aus, row.tolist(), strict=True):
            values[BP4D_COLUMNS.index(au)] = 9 if value == facs.UNKNOWN else value
        lines.append(",".join(map(str, (number, *values))))
    file.write_text("\n".join(lines) + "\n")


@dataclasses.dataclass(frozen=True)
class DisfaVideo:
    """A video of a raw DISFA tree.

    Attributes:
        name: such as ``SN001``.
        num_frames: of the video.
        num_labels: of its label files; by default as many.
        suffix: of the file name.
        codec: of the video.
        line_end: of the label files.
        final_line_end: whether the last line has one.
        faces: of the frames; grey pictures by default.
    """

    name: str
    num_frames: int
    num_labels: int | None = None
    suffix: str = "_comp.avi"
    codec: str = "mpeg4"
    line_end: str = "\n"
    final_line_end: bool = True
    faces: np.ndarray | None = None

    def intensities(self) -> np.ndarray:
        """Intensity of each of `DISFA_AUS`, 0 to 5, in each frame."""
        rng = np.random.default_rng(list(self.name.encode()))
        count = self.num_frames if self.num_labels is None else self.num_labels
        return rng.integers(0, 6, (count, len(DISFA_AUS))).astype(np.int8)

    def labels(self, threshold: int = 2) -> np.ndarray:
        """What the project must make of them."""
        columns = [DISFA_AUS.index(au) for au in facs.DISFA.aus]
        return (self.intensities()[:, columns] >= threshold).astype(np.int8)


def write_disfa(
    root: Path, videos: Sequence[DisfaVideo], size: tuple[int, int] = (256, 192), camera: str = "Left"
) -> Path:
    """Writes a raw DISFA tree; returns its folder."""
    folder = root / f"Videos_{camera}Camera"
    folder.mkdir(parents=True, exist_ok=True)
    for video in videos:
        shown = [None] * video.num_frames if video.faces is None else video.faces
        pictures = (frame(number, size, face) for number, face in enumerate(shown, start=1))
        write_avi(folder / f"{camera}Video{video.name}{video.suffix}", pictures, size, video.codec)
        labels = root / "ActionUnit_Labels" / video.name
        labels.mkdir(parents=True, exist_ok=True)
        for au, column in zip(DISFA_AUS, video.intensities().T, strict=True):
            lines = [f"{number},{value}" for number, value in enumerate(column.tolist(), start=1)]
            text = video.line_end.join(lines) + video.line_end * video.final_line_end
            (labels / f"{video.name}_au{au}.txt").write_bytes(text.encode())
    return root


def write_avi(
    file: Path,
    pictures: Iterable[np.ndarray],
    size: tuple[int, int],
    codec: str = "mpeg4",
    b_frames: int = 0,
) -> None:
    """Writes a video of 20 frames a second; ``mpeg4`` and ``mjpeg`` are codecs that AVI files have."""
    with av.open(str(file), "w", format="avi") as container:
        stream = container.add_stream(codec, rate=Fraction(20))
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.bit_rate = 4_000_000
        stream.codec_context.max_b_frames = b_frames
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
