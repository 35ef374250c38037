"""Whether there are labels to learn from and to be measured by."""

import numpy as np

from mdhr_jax import facs
from mdhr_jax.data.records import ClipRecords
from mdhr_jax.progress import announce
from mdhr_jax.training.experiment import Experiment


def check_labels(experiment: Experiment) -> None:
    """Refuses to train where labels would tell nothing, and warns of AUs that they say nothing of.

    Raises:
        ValueError: no frame that would be trained on, or none that would choose the checkpoint or be tested
            on, has a known label.
    """
    training, fold = experiment.train_records, experiment.config.fold
    parts = {f"the training videos of fold {fold}": training}
    if experiment.validation_records is not None:
        parts["the validation videos, which choose the checkpoint,"] = experiment.validation_records
    parts[f"the test part of fold {fold} ({facs.part_tested(fold)})"] = experiment.test_records
    for what, records in parts.items():
        if not records.counts()[1].any():
            raise ValueError(
                f"none of the {records.num_frames} frames of {what} has a known label, so training would "
                "end without a result; choose another config.fold, or prepare the data with labels for them"
            )
    _warn(experiment, training, "training videos", "it cannot be learnt")
    _warn(experiment, experiment.test_records, "test part", "its F1 counts 0 in the mean")


def _warn(experiment: Experiment, records: ClipRecords, where: str, so: str) -> None:
    present, known = records.counts()
    names = np.asarray(experiment.au_set.au_names)
    if unlabelled := names[known == 0].tolist():
        announce(f"warning: {', '.join(unlabelled)} unlabelled in the {where}; {so}")
    if never := names[(known > 0) & (present == 0)].tolist():
        announce(f"warning: {', '.join(never)} never present in the {where}; {so}")
