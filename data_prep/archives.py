"""One recording to one archive of aligned frames: the costly step of preparing a data set.

What one call does depends on one video and on nothing else, so that processes, array jobs and clusters
can share the videos out as they like. An archive that is there and was made from the same files by the
same recipe is kept; other labels alone are exchanged without looking for faces again.
"""

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from data_prep import versions
from data_prep.raw import Frame, RawVideo, VideoFrames, VideoProblem
from mdhr_jax import facs
from mdhr_jax.data import aligned, alignment_record, layout, video_files
from mdhr_jax.data.alignment_record import AlignmentRecord
from mdhr_jax.faces import mtcnn
from mdhr_jax.faces.aligner import AlignedFrame, VideoAligner
from mdhr_jax.faces.detector import Detector
from mdhr_jax.faces.precomputed import DetectionsError, PrecomputedDetector
from mdhr_jax.faces.recipe import AlignmentRecipe
from mdhr_jax.faces.video_file import FrameError

AS_IS = "as is"
"""Name of the recipe, and status of the frames, of pictures that were aligned by somebody else."""

AS_IS_VERSION = 1
"""Of that recipe: changes whenever the same pictures would be stored otherwise; a test sees to it."""

_SAMPLE = 4096
"""Bytes read at each of three places of a recording's file to know it again."""

_NO_FACE = (
    "no face was found in any of its frames; look at the video, and if it shows one, try a larger "
    "--short-side or give the faces that another program finds with --detections"
)


@dataclasses.dataclass(frozen=True)
class Job:
    """What the videos of a data set have in common.

    Attributes:
        au_set: whose labels they have.
        out: folder of the archives.
        recipe: how faces are cut out; None where the frames are aligned already.
        quality: of the JPEG files, to 100.
        labelling: how labels were made of what the distribution holds, see `data_prep.raw.Scan`.
        detections: folder of the faces that another program found, a CSV file a video; None where the
            recipe's detector looks for them.
    """

    au_set: facs.AUSet
    out: Path
    recipe: AlignmentRecipe | None
    quality: int = aligned.JPEG_QUALITY
    labelling: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    detections: Path | None = None

    @property
    def crop_recipe(self) -> dict[str, Any]:
        """The recipe as it is stored with the data."""
        if self.recipe is None:
            return {"name": AS_IS, "recipe_version": AS_IS_VERSION, "size": layout.IMAGE_EDGE}
        return self.recipe.to_json()

    def path(self, video: RawVideo) -> Path:
        """The archive of a video."""
        return self.out / f"{video.name}{video_files.ARCHIVE_SUFFIX}"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a video.

    Attributes:
        video: its name.
        frames: labelled frames in the recording.
        kept: whether the archive was there already.
        dropped: frames left out, by reason.
        notes: what a user should know.
        problem: why there is no archive; None if there is one.
    """

    video: str
    frames: int
    kept: bool = False
    dropped: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()
    problem: VideoProblem | None = None


def make(
    job: Job,
    video: RawVideo,
    detector: Callable[[], Detector],
    step: Callable[[int], object] = lambda _: None,
) -> Outcome:
    """Makes the archive of a video, unless it is there.

    Args:
        job: what all videos have in common.
        video: the recording.
        detector: gives the detector; called if one is needed.
        step: called with the number of frames finished since the last call.

    Raises:
        OSError: the archive cannot be written.
    """
    path = job.path(video)
    if (record := _finished(job, video, path)) is not None:
        step(video.num_frames)
        return _done(video, record, kept=True)
    try:
        found = None if job.recipe is None else detector()
    except (FileNotFoundError, ValueError) as error:
        return _without_faces(job, video, error)
    crops = _as_they_are(video)
    if job.recipe is not None and found is not None:
        crops = _aligned(video, job.recipe, found)
    made: list[AlignedFrame] = []
    records: list[AlignmentRecord] = []

    def files() -> Iterator[tuple[str, bytes]]:
        for number, crop in zip(video.frame_numbers.tolist(), crops, strict=True):
            if crop.image is not None:
                yield aligned.frame_name(number), aligned.encode_jpeg(crop.image, job.quality)
            made.append(dataclasses.replace(crop, image=None))
            step(1)
        if not any(crop.status in alignment_record.CROPPED for crop in made):
            raise FrameError(video.source.files[0], None, _NO_FACE)
        records.append(_record(job, video, made, found))
        yield from records[0].to_files()
        yield aligned.LABELS_FILE, _labels(job, video, records[0])

    try:
        video_files.write_archive(path, files())
    except FrameError as error:
        return Outcome(video.name, video.num_frames, problem=VideoProblem.of_frame(video.name, error))
    except DetectionsError as error:
        return _without_faces(job, video, error)
    except OSError:
        raise
    except Exception as error:
        # Whatever one video provokes must not cost the work on the others.
        text = f"could not be aligned ({type(error).__name__}: {error})"
        problem = VideoProblem(video.name, video.source.files[0], text)
        return Outcome(video.name, video.num_frames, problem=problem)
    return _done(video, records[0], kept=False)


def _without_faces(job: Job, video: RawVideo, error: Exception) -> Outcome:
    where = job.detections or video.source.files[0]
    return Outcome(video.name, video.num_frames, problem=VideoProblem(video.name, where, str(error)))


def read_record(files: video_files.VideoFiles) -> AlignmentRecord | None:
    """How the faces of an aligned video were found; None if it does not say.

    Raises:
        ValueError: it cannot be read.
    """
    with files.opened() as read:
        try:
            alignment = read(alignment_record.ALIGNMENT_FILE)
            provenance = read(alignment_record.PROVENANCE_FILE)
        except FileNotFoundError:
            return None
    return alignment_record.parse(alignment, provenance, str(files.path))


def decoded_length(out: Path, video: str, file: Path) -> int | None:
    """Frames that were counted by decoding a video before its archive was made.

    Args:
        out: folder of the archives.
        video: its name.
        file: the recording.

    Returns:
        The count; None if there is no archive, it was not made from this file, or it does not say.
    """
    try:
        record = read_record(video_files.ArchiveFiles(out / f"{video}{video_files.ARCHIVE_SUFFIX}"))
        stored = record.provenance.get("decoded") if record is not None else None
        return stored["frames"] if stored and stored["file"] == _sampled(file).decode() else None
    except (OSError, ValueError):
        # Whatever is wrong with either is told when it is used.
        return None


def _finished(job: Job, video: RawVideo, path: Path) -> AlignmentRecord | None:
    """The record of an archive that need not be made again; its labels are exchanged if they are others."""
    if not path.exists():
        return None
    archive = video_files.ArchiveFiles(path)
    try:
        record = read_record(archive)
        if record is None or any(record.provenance.get(k) != v for k, v in _identity(job, video).items()):
            return None
        labels, about = _labels(job, video, record), _about_labels(job, video)
        archive.check()
        with archive.opened() as read:
            same = all(record.provenance.get(key) == value for key, value in about.items())
            if same and read(aligned.LABELS_FILE) == labels:
                return record
            record = dataclasses.replace(record, provenance={**record.provenance, **about})
            replaced = dict(record.to_files()) | {aligned.LABELS_FILE: labels}
            names = [name for name in archive.sizes() if name not in replaced]
            files = itertools.chain(((name, read(name)) for name in names), replaced.items())
            video_files.write_archive(path, files)
        return record
    except (ValueError, FileNotFoundError):
        # Damaged: it is made again.
        return None


def _done(video: RawVideo, record: AlignmentRecord, *, kept: bool) -> Outcome:
    return Outcome(video.name, video.num_frames, kept, record.dropped(), record.notes)


def _identity(job: Job, video: RawVideo) -> dict[str, Any]:
    """What the crops of a video depend on."""
    digest = hashlib.sha256(video.frame_numbers.astype("<i4").tobytes())
    for file in video.source.files:
        digest.update(f"\n{file.name} ".encode() + _sampled(file))
    if job.detections is not None:
        digest.update(_read(job.detections / f"{video.name}.csv", Path.read_bytes))
    return {
        "crop_recipe": json.loads(json.dumps(job.crop_recipe)),
        "frames": digest.hexdigest(),
        "jpeg_quality": job.quality,
    }


def _sampled(file: Path) -> bytes:
    """Size of a file, and digest of its first, middle and last bytes.

    Reading all of a distribution at each restart would take as long as decoding it. Times of change would be
    cheaper still, but a copied tree has others. Samples tell pictures apart: what a camera records differs
    from frame to frame in every part.
    """
    return _read(file, _sample)


def _sample(file: Path) -> bytes:
    size = file.stat().st_size
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        # Short files are read whole.
        for start in sorted({0, max(0, (size - _SAMPLE) // 2), max(0, size - _SAMPLE)}):
            opened.seek(start)
            digest.update(opened.read(_SAMPLE))
    return f"{size} {digest.hexdigest()}".encode()


def _read(file: Path, how: Callable[[Path], bytes]) -> bytes:
    try:
        return how(file)
    except OSError as error:
        # It costs this video, not the run.
        raise FrameError(file, None, f"cannot be read ({error.strerror})") from error


def _about_labels(job: Job, video: RawVideo) -> dict[str, Any]:
    """What is said of the labels of a video, which changes with them, and how its frames were counted."""
    about: dict[str, Any] = {
        "labelling": dict(job.labelling),
        "label_notes": list(video.notes),
        "fps": video.fps,
        "unlabelled": len(video.unlabelled),
        "unlabelled_at_end": video.unlabelled_at_end,
    }
    if video.decoded:
        about["decoded"] = {"frames": video.decoded, "file": _sampled(video.source.files[0]).decode()}
    return json.loads(json.dumps(about))


def _record(
    job: Job, video: RawVideo, made: list[AlignedFrame], detector: Detector | None
) -> AlignmentRecord:
    notes = list(detector.notes) if isinstance(detector, PrecomputedDetector) else []
    tracks = {crop.track for crop in made if crop.track >= 0}
    anew = len(tracks) - len({track // alignment_record.TRACKS_A_RUN for track in tracks})
    if anew:
        notes.append(f"the face was lost and followed anew {anew} time(s); check that it is the subject's")
    missing = np.full((2, 3), np.nan, np.float32)
    return AlignmentRecord(
        frame_numbers=video.frame_numbers,
        status=tuple(crop.status for crop in made),
        track=np.array([crop.track for crop in made], np.int32),
        confidence=np.array([crop.confidence for crop in made], np.float32),
        other_faces=np.array([crop.other_faces for crop in made], np.int32),
        points=np.stack([crop.raw_points for crop in made]).astype(np.float32),
        matrices=np.stack([missing if c.matrix is None else c.matrix for c in made]).astype(np.float32),
        provenance={
            **_identity(job, video),
            **_about_labels(job, video),
            "notes": notes,
            "versions": _versions(job, video),
        },
    )


def _versions(job: Job, video: RawVideo) -> dict[str, str]:
    """Of the packages that decided the pixels; others do not make a finished archive another."""
    packages: list[str] = [*versions.CROPS]
    if isinstance(video.source, VideoFrames):
        packages += versions.VIDEO
    if job.recipe is not None and job.recipe.detector == mtcnn.NAME:
        packages += versions.MTCNN
    return versions.of(*packages)


def _labels(job: Job, video: RawVideo, record: AlignmentRecord) -> bytes:
    chosen = np.asarray(record.cropped)
    return aligned.encode_labels(video.frame_numbers[chosen], video.labels[chosen], job.au_set.aus)


def _aligned(video: RawVideo, recipe: AlignmentRecipe, detector: Detector) -> Iterator[AlignedFrame]:
    """The crops of a video. Where frame numbers jump, nothing is smoothed, bridged or followed across."""
    aligner = VideoAligner(recipe, detector)
    run, last = 0, None
    for number, frame in zip(video.frame_numbers.tolist(), video.frames(), strict=True):
        if last is not None and number != last + 1:
            yield from _of_run(aligner.flush(), run)
            aligner, run = VideoAligner(recipe, detector), run + 1
        last = number
        yield from _of_run(aligner.push(frame), run)
    yield from _of_run(aligner.flush(), run)


def _of_run(crops: list[AlignedFrame], run: int) -> Iterator[AlignedFrame]:
    """The crops with tracks numbered over all runs of a video."""
    for crop in crops:
        yield dataclasses.replace(
            crop, track=crop.track + run * alignment_record.TRACKS_A_RUN if crop.track >= 0 else -1
        )


def _as_they_are(video: RawVideo) -> Iterator[AlignedFrame]:
    edge = layout.IMAGE_EDGE
    for index, frame in enumerate(video.frames()):
        height, width = frame.shape[:2]
        matrix = np.array([[edge / width, 0, 0], [0, edge / height, 0]], np.float32)
        none = np.full((5, 2), np.nan, np.float32)
        yield AlignedFrame(index, _resized(frame), none, none, matrix, AS_IS, float("nan"), 0)


def _resized(frame: Frame) -> UInt8[np.ndarray, "256 256 3"]:
    edge = layout.IMAGE_EDGE
    if frame.shape[:2] == (edge, edge):
        return frame
    return np.asarray(Image.fromarray(frame).resize((edge, edge), Image.Resampling.BICUBIC))
