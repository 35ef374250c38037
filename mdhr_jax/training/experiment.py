"""Everything a configuration describes, opened and checked: data, devices, model, steps.

Training and evaluation both start from here.
"""

import dataclasses
import importlib.metadata
import platform
from pathlib import Path
from typing import Any

import jax
import optax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from mdhr_jax import __version__, facs, parallel, source
from mdhr_jax import config as config_lib
from mdhr_jax.data import own_sets
from mdhr_jax.data.clips import ClipStream
from mdhr_jax.data.loader import steps_total
from mdhr_jax.data.records import ClipRecords, open_dataset
from mdhr_jax.models.functional import FunctionalModel
from mdhr_jax.progress import announce
from mdhr_jax.training import protocols, stored_step
from mdhr_jax.training.optimizer import make_optimizer, make_schedule
from mdhr_jax.training.state import StateFactory

# Fields of the model's config that its weights do not depend on.
_WITHOUT_MEANING = (
    "pretrained",
    "init_from",
    "dtype",
    "dense_graph",
    "batch_norm_groups",
    "remat",
    "remat_stages",
    "drop_path",
)
_VERSIONED = ("jax", "flax", "optax", "numpy")


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A configuration made concrete.

    Attributes:
        config: the configuration, checked.
        au_set: its entry of the AU table.
        mesh: the devices.
        train_records, test_records: the videos of the fold.
        validation_records: videos of training subjects that are kept out of training and choose checkpoint
            and thresholds; None under the paper's protocol, where the test part does.
        stream: the training clips in their order.
        total_steps: optimiser steps of the whole run.
        states: makes and describes train states.
        schedule: learning rate by step.
    """

    config: ConfigDict
    au_set: facs.AUSet
    mesh: Mesh
    train_records: ClipRecords
    test_records: ClipRecords
    validation_records: ClipRecords | None
    stream: ClipStream
    total_steps: int
    states: StateFactory
    schedule: optax.Schedule

    @property
    def model(self) -> FunctionalModel:
        """The network."""
        return self.states.model

    @property
    def selection_records(self) -> ClipRecords:
        """The videos that evaluations during training look at, and that so choose the checkpoint."""
        return self.test_records if self.validation_records is None else self.validation_records

    @property
    def validation_subjects(self) -> tuple[str, ...]:
        """Subjects kept out of training."""
        videos = () if self.validation_records is None else self.validation_records.videos
        return tuple(dict.fromkeys(video.subject for video in videos))

    def epochs_done(self, step: int) -> int:
        """Complete epochs after a number of steps."""
        return self.position(step) // self.stream.clips_per_epoch

    def position(self, step: int) -> int:
        """Position in the stream of clips after a number of steps."""
        batch, epoch = self.config.train.batch_size, self.stream.clips_per_epoch
        if self.config.data.last_batch == "across":
            return step * batch
        epochs, steps = divmod(step, -(-epoch // batch))
        return epochs * epoch + min(steps * batch, epoch)

    def evaluation_due(self, step: int) -> bool:
        """Whether the model is evaluated after this many steps: every so many epochs, and at the end."""
        if step == 0:
            return False
        every = self.config.eval.every_epochs
        return (
            step == self.total_steps or self.epochs_done(step) // every > self.epochs_done(step - 1) // every
        )

    def identity(self) -> dict[str, Any]:
        """What a checkpoint's meta data must say for its weights to mean what this experiment means."""
        return describe_model(self.config) | {
            "fold": self.config.fold,
            "image_size": self.config.data.image_size,
            "clip_length": self.config.data.clip_length,
            "crop_recipe": self.test_records.crop_recipe,
        }

    def metadata(self) -> dict[str, Any]:
        """Meta data of this experiment's checkpoints."""
        return self.identity() | {
            "config": config_lib.as_json(self.config),
            "config_hash": config_lib.config_hash(self.config),
            "data_fingerprint": self.train_records.fingerprint,
            # Of a data set of one's own nothing else would say what the outputs are.
            own_sets.ENTRY_KEY: own_sets.to_json(self.au_set),
            "protocol": self.config.eval.protocol,
            "validation_subjects": list(self.validation_subjects),
            "versions": versions(),
        }

    def check_metadata(self, meta: dict[str, Any]) -> None:
        """Refuses a checkpoint made for something else; what the checkpoint does not know is told.

        Raises:
            ValueError: naming every differing field.
        """
        unknown = sorted(name for name in self.identity() if name in meta and meta[name] is None)
        if unknown:
            announce(f"warning: the checkpoint does not say its {', '.join(unknown)}; taken to be this run's")
        known = {name: value for name, value in self.identity().items() if name not in unknown}
        stored_step.check_meta(meta, known)

    def check_protocol(self, meta: dict[str, Any]) -> None:
        """Refuses to go on from a checkpoint that was trained under another protocol.

        Raises:
            ValueError: the protocol or the subjects kept out of training differ.
        """
        # Checkpoints from before there was a choice do not say whom they kept out: nobody.
        stored = {"validation_subjects": [], **meta}
        own = {"protocol": self.config.eval.protocol, "validation_subjects": list(self.validation_subjects)}
        stored_step.check_meta(stored, own)


def describe_model(config: ConfigDict) -> dict[str, Any]:
    """What the weights of a config's model mean: ``dataset``, ``au_names`` and the fields of ``model``."""
    au_set = facs.get(config.dataset)
    fields = config_lib.as_json(config)["model"]
    for name in _WITHOUT_MEANING:
        del fields[name]
    return {
        "dataset": au_set.name,
        "au_names": list(au_set.au_names),
        "model": fields | {"backbone": config_lib.model_config(config).backbone},
    }


def versions() -> dict[str, str]:
    """Of this project, the libraries that computed, Python and the device.

    ``commit`` is there only where the project runs from its clone, see `mdhr_jax.source`.
    """
    commit = source.commit()
    libraries = {name: importlib.metadata.version(name) for name in _VERSIONED}
    return {
        "mdhr_jax": __version__,
        **({} if commit is None else {"commit": commit}),
        **libraries,
        "python": platform.python_version(),
        "backend": jax.default_backend(),
    }


def check_batches(config: ConfigDict, devices: int) -> None:
    """Refuses batches that so many devices cannot share.

    Raises:
        ValueError: saying of each size that does not fit which do.
    """
    sizes = [("eval.batch_size", config.eval.batch_size, 1)]
    if config.data.last_batch != "partial":
        sizes.insert(0, ("train.batch_size", config.train.batch_size, config.train.accumulate))
    elif devices > 1:
        raise ValueError(
            "config.data.last_batch='partial' makes short batches, which several devices cannot share; "
            f"found {devices} devices: choose 'across' or run on one"
        )
    problems = []
    for name, size, micro_batches in sizes:
        try:
            parallel.check_batch_size(name, size, devices, micro_batches)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))


def open_experiment(config: ConfigDict) -> Experiment:
    """Checks a configuration and opens what it names.

    Raises:
        ValueError: something in the configuration is wrong or does not fit the devices or the data.
        FileNotFoundError: data are missing; the message says how to get them.
    """
    config_lib.validate(config)
    mesh = parallel.make_mesh(config.mesh.data, config.mesh.fsdp)
    check_batches(config, mesh.size)
    au_set = facs.get(config.dataset)
    data_dir = Path(config.data.dir)
    train_records = open_dataset(data_dir, au_set, facs.train_parts(config.fold))
    test_records = open_dataset(data_dir, au_set, [facs.part_tested(config.fold)])
    validation_records = None
    if config.eval.protocol == protocols.HONEST:
        held_out = protocols.validation_subjects(
            train_records.videos, config.eval.validation_share, config.seed
        )
        validation_records = train_records.of_subjects(held_out)
        train_records = train_records.of_subjects(held_out, others=True)

    stream = ClipStream(
        [video.num_frames for video in train_records.videos],
        config.data.clip_length,
        config.seed,
        config.data.clips_per_video,
        jitter=config.data.jitter,
    )
    total_steps = steps_total(
        config.train.epochs, stream.clips_per_epoch, config.train.batch_size, config.data.last_batch
    )
    train = config.train
    optimizer = make_optimizer(
        train.learning_rate,
        total_steps,
        weight_decay=train.weight_decay,
        clip_norm=train.clip_norm,
        warmup_steps=train.warmup_steps,
    )
    model = FunctionalModel.create(config_lib.model_config(config))
    return Experiment(
        config=config,
        au_set=au_set,
        mesh=mesh,
        train_records=train_records,
        test_records=test_records,
        validation_records=validation_records,
        stream=stream,
        total_steps=total_steps,
        states=StateFactory(model, optimizer, mesh, ema=train.ema > 0),
        schedule=make_schedule(train.learning_rate, total_steps, warmup_steps=train.warmup_steps),
    )
