"""Writes data sets as TFRecord through TFDS builders: ``bp4d``, ``disfa`` and ``synthetic``.

This is the only module that writes records, and the only one under which TensorFlow runs (TFDS needs
it for writing). What a record holds is said in `mdhr_jax.data.layout`. The same input gives the same
bytes. A set is written to a folder of another name, which is renamed when all is there.
"""

import contextlib
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds
from absl import logging
from tensorflow_datasets.proto import tf_example_pb2

from mdhr_jax import facs
from mdhr_jax.data import aligned, layout, own_sets, render_pool, temporaries
from mdhr_jax.data.sources import AlignedSource, Source, SyntheticSource, truth_shapes
from mdhr_jax.data.synthetic import generator
from mdhr_jax.data.workers import usable_cpus
from mdhr_jax.progress import Progress

__all__ = ["Bp4d", "ClipsBuilder", "Disfa", "Synthetic", "write_aligned", "write_synthetic"]

_BUCKETS = 1000
_BUCKET_RECORDS = 256
_INCOMPLETE = "incomplete."


class ClipsBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """What the builders share: features, one split per part, metadata, and the order of the records."""

    VERSION: ClassVar = tfds.core.Version(layout.TFDS_VERSION)

    def __init__(self, *, source: Source | None = None, progress: Progress | None = None, **kwargs: Any):
        # Set first: TFDS asks for the description in its constructor.
        self._source = source
        self._progress = progress
        self._part_counts: dict[str, dict[str, Any]] = {}
        super().__init__(**kwargs)

    def _au_set(self) -> facs.AUSet:
        return facs.get(self.name) if self._source is None else self._source.au_set

    def _info(self) -> tfds.core.DatasetInfo:
        au_set = self._au_set()
        metadata: dict[str, Any] = {
            "format_version": layout.FORMAT_VERSION,
            "au_set": au_set.name,
            "aus": list(au_set.aus),
            "chunk_frames": layout.CHUNK_FRAMES,
        }
        if facs.AU_SETS.get(au_set.name) != au_set:
            metadata[own_sets.ENTRY_KEY] = own_sets.to_json(au_set)
        if self._source is not None:
            metadata |= {
                "crop_recipe": self._source.crop_recipe,
                "source": self._source.describe(),
                "parts": self._part_counts,
            }
        return _OfflineInfo(
            builder=self,
            description=f"{au_set.title}: aligned faces with AU labels, {layout.CHUNK_FRAMES} a record.",
            features=_features(au_set, self._truth_shapes(au_set)),
            metadata=tfds.core.MetadataDict(metadata),
            disable_shuffling=True,
        )

    def _truth_shapes(self, au_set: facs.AUSet) -> dict[str, tuple[int, ...]]:
        """What is stored of every frame besides its labels."""
        return {}

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict[str, Any]]]]:
        if self._source is None:
            raise ValueError(
                f"{self.name} is written with write_aligned or write_synthetic, not by TFDS alone"
            )
        return {part: self._generate_examples(self._source, part) for part in self._source.parts}

    def _download_and_prepare(self, *args: Any, **kwargs: Any) -> None:
        with temporaries.marked(Path(self.data_dir)):
            super()._download_and_prepare(*args, **kwargs)
        if self._source is not None:
            # TFDS still writes to a folder of another name here.
            folder = Path(self.data_dir)
            for name, content in self._source.beside(folder).items():
                (folder / name).write_bytes(content)

    def _generate_examples(self, source: Source, part: str) -> Iterator[tuple[int, dict[str, Any]]]:
        num_aus = source.au_set.num_aus
        positives, known = np.zeros(num_aus, np.int64), np.zeros(num_aus, np.int64)
        record = num_videos = num_frames = 0
        for video in source.videos(part):
            jpegs = iter(video.jpegs)
            for chunk, first in enumerate(range(0, len(video.labels), layout.CHUNK_FRAMES)):
                rows = slice(first, first + layout.CHUNK_FRAMES)
                labels = video.labels[rows]
                yield (
                    _record_key(record),
                    {
                        "video": video.name,
                        "subject": video.subject,
                        "chunk": chunk,
                        "frame_numbers": video.frame_numbers[rows],
                        "images": list(itertools.islice(jpegs, len(labels))),
                        "labels": labels,
                        **{name: values[rows] for name, values in video.truth.items()},
                    },
                )
                record += 1
                if self._progress is not None:
                    self._progress.update(len(labels))
            positives += (video.labels == 1).sum(0)
            known += (video.labels != facs.UNKNOWN).sum(0)
            num_videos += 1
            num_frames += len(video.labels)
        self._part_counts[part] = {
            "videos": num_videos,
            "frames": num_frames,
            "positives": positives.tolist(),
            "known": known.tolist(),
        }

    def _log_download_bytes(self) -> None:
        """TFDS would announce a download of unknown size; the progress bar says what is going on."""

    _log_download_done = _log_download_bytes

    def _example_writer(self) -> Any:
        return _CanonicalWriter(tfds.core.FileFormat.TFRECORD)


class Bp4d(ClipsBuilder):
    """BP4D, from an aligned tree."""

    name = "bp4d"


class Disfa(ClipsBuilder):
    """DISFA, from an aligned tree."""

    name = "disfa"


class Synthetic(ClipsBuilder):
    """Rendered faces, labelled like BP4D or like DISFA."""

    name = "synthetic"
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name="bp4d", description="The 12 AUs of BP4D."),
        tfds.core.BuilderConfig(name="disfa", description="The 8 AUs of DISFA."),
    ]

    def _truth_shapes(self, au_set: facs.AUSet) -> dict[str, tuple[int, ...]]:
        return truth_shapes(au_set)

    def _au_set(self) -> facs.AUSet:
        if self._source is not None:
            return self._source.au_set
        return facs.get(f"synthetic_{self.builder_config_name}")


def write_aligned(
    au_set: facs.AUSet,
    tree: aligned.AlignedTree,
    out_dir: str | Path,
    beside: Callable[[Path], Mapping[str, bytes]] = lambda _: {},
) -> Path:
    """Writes an aligned tree as TFRecord.

    Args:
        au_set: the data set's entry in the AU table; it says which subject is in which part.
        tree: what to write, see `mdhr_jax.data.aligned.read_tree`.
        out_dir: data directory; the set goes to ``<out_dir>/<name>/<version>``.
        beside: called with the folder of the records when they are written (under another name still); gives
            files to lay beside them, by name.

    Returns:
        The versioned folder. If the same data are there already, nothing is written.

    Raises:
        ValueError: a frame cannot be read, or other data are there already.
        OSError: the disk is full.
    """
    source = AlignedSource(au_set, tree, beside)
    return _write(_builder_class(au_set), None, source, Path(out_dir))


def write_synthetic(out_dir: str | Path, spec: generator.SyntheticSpec, workers: int | None = None) -> Path:
    """Renders a synthetic set and writes it as TFRecord.

    Args:
        out_dir: data directory; the set goes to ``<out_dir>/synthetic/<like>/<version>``.
        spec: what to render, with frames of 256 pixels.
        workers: rendering processes; by default one for each CPU.

    Returns:
        The versioned folder. If a set of the same specification is there already, nothing is written.

    Raises:
        ValueError: a set of another specification is there already; the message says what differs.
        OSError: the disk is full.
    """
    if spec.size != layout.IMAGE_EDGE:
        raise ValueError(
            f"records hold frames of {layout.IMAGE_EDGE} pixels, the specification says {spec.size}"
        )
    videos = SyntheticSource.in_parts(spec)
    rendered = render_pool.render_all(
        generator.render_video, spec, videos, workers or usable_cpus(), tuple(truth_shapes(spec.au_set))
    )
    with contextlib.closing(rendered):
        return _write(Synthetic, spec.like, SyntheticSource(spec, rendered), Path(out_dir))


def _write(kind: type[ClipsBuilder], config: str | None, source: Source, out_dir: Path) -> Path:
    final = layout.version_dir(out_dir, source.au_set)
    if _is_there(final, source):
        temporaries.sweep(final)
        changed = _renew_beside(final, source)
        print(f"{final} holds this data set already; {f'renewed {changed}' if changed else 'nothing to do'}")
        return final
    for left in sorted(final.parent.glob(f"{_INCOMPLETE}*_{final.name}")):
        with contextlib.suppress(OSError):
            if temporaries.folder_is_left(left):
                shutil.rmtree(left)
                continue
        logging.warning("%s was left by a run that was killed or still runs; if none runs, delete it", left)
    hide_accelerators()
    tfds.disable_progress_bar()
    with Progress(source.num_frames, unit="frames", label=f"writing {source.au_set.title}") as bar:
        _run(kind(source=source, progress=bar, data_dir=str(out_dir), config=config), final)
    return final


def _run(builder: ClipsBuilder, final: Path) -> None:
    """Lets TFDS write.

    Raises:
        OSError: the disk is full, or writing fails otherwise.
    """
    import tensorflow as tf

    # TFDS makes a folder for downloads, of which there are none.
    with tempfile.TemporaryDirectory() as downloads:
        try:
            builder.download_and_prepare(
                download_dir=downloads, download_config=tfds.download.DownloadConfig(try_download_gcs=False)
            )
        except (RuntimeError, tf.errors.OpError) as error:
            # TFDS puts some of TensorFlow's errors into a RuntimeError.
            cause = error if isinstance(error, tf.errors.OpError) else error.__cause__
            if not isinstance(cause, tf.errors.OpError):
                raise
            raise OSError(
                f"{final} could not be written ({getattr(cause, 'message', cause)}); nothing was left there. "
                "Free some space or write to another data directory"
            ) from error


def _is_there(final: Path, source: Source) -> bool:
    """Whether the same data set is in the folder.

    Raises:
        ValueError: something else is there.
    """
    if not final.exists():
        return False
    metadata = layout.read_metadata(final)
    wanted = {**source.describe(), "aus": list(source.au_set.aus), "format_version": layout.FORMAT_VERSION}
    wanted["crop_recipe"] = source.crop_recipe
    found = {**metadata.get("source", {}), **{k: v for k, v in metadata.items() if k in wanted}}
    different = [
        f"{key} is {found.get(key)!r} there and {wanted.get(key)!r} here"
        for key in sorted(wanted.keys() | found.keys())
        if found.get(key) != wanted.get(key) and key != "digest"
    ]
    # Digests of different things say nothing of each other.
    if found.get("digest_of") == wanted.get("digest_of") and found.get("digest") != wanted.get("digest"):
        frames = sum(part["frames"] for part in metadata.get("parts", {}).values())
        different.append(f"its frames or labels are others ({frames} frames there, {source.num_frames} here)")
    if different:
        raise ValueError(
            f"{final} holds another data set: {'; '.join(different)}. Delete that folder and run again "
            "(what it is written from is kept), or write to another data directory"
        )
    return True


def _renew_beside(final: Path, source: Source) -> str:
    """Brings the files beside the records up to date, each atomically; names those that changed."""
    changed = []
    for name, content in source.beside(final).items():
        path = final / name
        if path.is_file() and path.read_bytes() == content:
            continue
        temporary = temporaries.beside(path)
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        changed.append(name)
    return ", ".join(changed)


def hide_accelerators() -> None:
    """Keeps TensorFlow off the accelerators, which belong to JAX. Before TensorFlow's first operation."""
    # Without these TensorFlow prints notes about itself when it is first imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    import tensorflow as tf

    for kind in ("GPU", "TPU"):
        tf.config.set_visible_devices([], kind)


def _builder_class(au_set: facs.AUSet) -> type[ClipsBuilder]:
    """The builder of a data set; entries added to the AU table get one of their own."""
    for known in (Bp4d, Disfa):
        if known.name == au_set.name:
            return known
    return type(au_set.name.title(), (ClipsBuilder,), {"name": au_set.name}, skip_registration=True)


def _features(au_set: facs.AUSet, truth: Mapping[str, tuple[int, ...]]) -> tfds.features.FeaturesDict:
    edge = layout.IMAGE_EDGE
    return tfds.features.FeaturesDict(
        {
            "video": tfds.features.Text(),
            "subject": tfds.features.Text(),
            "chunk": np.int32,
            "frame_numbers": tfds.features.Sequence(np.int32),
            "images": tfds.features.Sequence(
                tfds.features.Image(shape=(edge, edge, 3), encoding_format="jpeg")
            ),
            "labels": tfds.features.Tensor(shape=(None, au_set.num_aus), dtype=np.int8),
            **{
                name: tfds.features.Tensor(shape=(None, *shape), dtype=np.float32)
                for name, shape in truth.items()
            },
        }
    )


def _record_key(record: int) -> int:
    """Key that keeps a record in its place while TFDS sorts.

    TFDS gathers a split in memory up to 1 GB; a larger one it spreads by key over 1000 temporary files
    and sorts each in memory. Small consecutive keys would all fall into the first of them; these put
    256 records into each.
    """
    bucket = min(record // _BUCKET_RECORDS, _BUCKETS - 1)
    middle = (2 * bucket + 1) * 2**128 // (2 * _BUCKETS)
    return middle + record - bucket * _BUCKET_RECORDS


class _OfflineInfo(tfds.core.DatasetInfo):
    def initialize_from_bucket(self) -> None:
        """TFDS would look on the network for a published description of the set; there is none."""


class _CanonicalWriter(tfds.core.ExampleWriter):
    """Writes each example with its features in sorted order, so that equal data give equal bytes.

    Protocol buffers leave the order of a map open, and it changes from process to process.
    """

    def write(self, path: Any, examples: Iterable[tuple[Any, bytes]]) -> Any:
        return super().write(path, ((key, _canonical(example)) for key, example in examples))


def _canonical(example: bytes) -> bytes:
    message = tf_example_pb2.Example.FromString(example)  # pyright: ignore[reportAttributeAccessIssue]
    return message.SerializeToString(deterministic=True)
