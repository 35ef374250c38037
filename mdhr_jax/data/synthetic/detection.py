"""Whether a face detector trained on photographs takes synthetic faces for faces.

    pip install mdhr_jax[faces]
    python -m mdhr_jax.data.synthetic.detection --preset realistic --report detection.md

Runs the face step's detector (`mdhr_jax.faces.mtcnn`) on frames of many subjects as they occur
in videos: AUs, speech, head pose, glasses, beards, noise, compression. Each frame is shown as generated,
with a border of repeated edge pixels, and at half size with such a border: a detector looks for heads with
something around them, while the canonical crop ends at the hairline.
"""

import argparse
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from mdhr_jax import commands
from mdhr_jax.data.synthetic import generator
from mdhr_jax.data.synthetic.landmarks import LANDMARK_NAMES
from mdhr_jax.faces import mtcnn
from mdhr_jax.progress import Progress

POINTS = {
    "left_eye": "eye_left_centre",
    "right_eye": "eye_right_centre",
    "nose": "nose_tip",
    "mouth_left": "mouth_left",
    "mouth_right": "mouth_right",
}
"""The detector's points and the landmarks that they are compared with; left is the viewer's for both."""

LEAST_RATE = 0.95
"""Share of faces that must be found."""

MOST_ERROR = 0.08
"""Largest median distance of a point from its landmark, relative to the distance between the eyes."""

_SAME_FACE = 0.3
"""A detection whose points lie further away than this on average, in eye distances, is not of the face."""

Frame = UInt8[np.ndarray, "H W 3"]
Detector = Callable[[Frame], Float[np.ndarray, "5 2"] | None]
"""Points of the surest face of a picture in pixels, in the order of `POINTS`; None where there is no face."""


@dataclasses.dataclass(frozen=True)
class Placement:
    """How a frame is shown to the detector.

    Attributes:
        name: as printed.
        shrink: whole factor by which it is made smaller.
        border: width of repeated edge pixels around it, as a share of its side after shrinking.
    """

    name: str
    shrink: int
    border: float

    def show(self, frame: Frame) -> tuple[UInt8[np.ndarray, "P P 3"], int]:
        """The picture, and the width of its border in pixels."""
        if self.shrink > 1:
            size = (frame.shape[1] // self.shrink, frame.shape[0] // self.shrink)
            frame = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX))
        pad = round(self.border * len(frame))
        return np.pad(frame, ((pad, pad), (pad, pad), (0, 0)), mode="edge"), pad


PLACEMENTS = (
    Placement("as generated", 1, 0.0),
    Placement("with a border", 1, 0.4),
    Placement("half size with a border", 2, 0.75),
)


@dataclasses.dataclass(frozen=True)
class Score:
    """How a detector fared on one placement.

    Attributes:
        placement: of the frames.
        frames: how many were shown.
        found: how many faces were found.
        errors: median distance of each point of `POINTS` from its landmark, share of the eye distance.
        error: median over all points.
    """

    placement: Placement
    frames: int
    found: int
    errors: dict[str, float]
    error: float

    @property
    def holds(self) -> bool:
        """Whether enough faces are found and their points lie where the face's are."""
        return self.found >= LEAST_RATE * self.frames and self.error <= MOST_ERROR


def sample_frames(
    preset: str, subjects: int, *, shots: int = 5, seed: int = 0
) -> list[tuple[Frame, Float[np.ndarray, "5 2"]]]:
    """Frames of the first subjects of both AU sets with the true places of the points, pixels.

    Args:
        preset: see `generator.PRESETS`.
        subjects: of each AU set.
        shots: frames of each subject, a quarter of a second apart.
        seed: of the data sets.
    """
    columns = [LANDMARK_NAMES.index(name) for name in POINTS.values()]
    samples = []
    for like in generator.LIKES:
        spec = generator.SyntheticSpec(
            like=like,
            preset=preset,
            seed=seed,
            subjects=subjects,
            videos_per_subject=1,
            frames_per_video=6 * shots,
        )
        for video in spec.videos():
            clip = generator.render_video(spec, video)
            samples += [(clip.frames[i], clip.landmarks[i, columns]) for i in range(3, 6 * shots, 6)]
    return samples


def score(
    detect: Detector,
    samples: Sequence[tuple[Frame, Float[np.ndarray, "5 2"]]],
    placement: Placement,
    step: Callable[[], object] = lambda: None,
) -> Score:
    """Shows frames to a detector; `step` is called after each."""
    errors = []
    for frame, truth in samples:
        picture, pad = placement.show(frame)
        points = detect(picture)
        if points is not None:
            eyes = float(np.hypot(*(truth[1] - truth[0])))
            apart = np.hypot(*((points - pad) * placement.shrink - truth).T) / eyes
            if apart.mean() < _SAME_FACE:
                errors.append(apart)
        step()
    table = np.asarray(errors) if errors else np.full((1, len(POINTS)), np.inf)
    medians = dict(zip(POINTS, np.median(table, 0).tolist(), strict=True))
    return Score(placement, len(samples), len(errors), medians, float(np.median(table)))


def mtcnn_detector() -> Detector:
    """MTCNN as the face step uses it, on the CPU.

    Raises:
        ImportError: its package is missing.
    """
    model = mtcnn.load()

    def detect(picture: Frame) -> Float[np.ndarray, "5 2"] | None:
        (faces,) = model.detect([picture])
        return faces[0].points if faces else None

    return detect


def table(scores: Sequence[Score]) -> str:
    """The scores as a Markdown table."""
    lines = [
        f"| frames | found | median error | {' | '.join(POINTS)} | holds |",
        "|" + "---|" * (len(POINTS) + 4),
    ]
    for s in scores:
        points = " | ".join(f"{100 * s.errors[name]:.1f} %" for name in POINTS)
        share = f"{s.found}/{s.frames} ({100 * s.found / s.frames:.1f} %)"
        lines.append(
            f"| {s.placement.name} | {share} | {100 * s.error:.1f} % | {points} "
            f"| {'yes' if s.holds else '**no**'} |"
        )
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.data.synthetic.detection",
        description="Measures how often MTCNN finds synthetic faces, and how exactly.",
    )
    parser.add_argument("--preset", default="realistic", help=f"one of {', '.join(generator.PRESETS)}")
    parser.add_argument("--subjects", type=int, default=24, help="subjects of each AU set, 5 frames each")
    parser.add_argument("--seed", type=int, default=0, help="start of all randomness, from 0")
    parser.add_argument("--report", type=Path, help="Markdown file that receives the table")
    return parser


def main(argv: Sequence[str] | None = None, detector: Detector | None = None) -> int:
    """Runs the command; returns 0, 1 where faces are not found well enough, 2 after a mistake.

    Args:
        argv: the command line; that of the process by default.
        detector: used instead of MTCNN.
    """
    arguments = _parser().parse_args(argv)

    def run() -> int:
        detect = detector or mtcnn_detector()
        samples = sample_frames(arguments.preset, arguments.subjects, seed=arguments.seed)
        scores = []
        with Progress(len(samples) * len(PLACEMENTS), unit="frames", label="detection") as bar:
            scores += [score(detect, samples, placement, bar.update) for placement in PLACEMENTS]
        text = table(scores)
        print(text)
        if arguments.report is not None:
            title = f"Detection of synthetic faces, preset `{arguments.preset}`, {len(samples)} frames"
            note = "Errors are shares of the distance between the eyes."
            arguments.report.write_text(f"# {title}\n\n{note}\n\n{text}\n")
        return commands.DONE if all(s.holds for s in scores) else commands.FAILED

    return commands.finish(run)


if __name__ == "__main__":
    sys.exit(main())
