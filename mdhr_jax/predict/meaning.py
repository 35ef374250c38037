"""What the scores of a checkpoint mean: said beside every table and every exported model."""

from typing import Any

from mdhr_jax.models.streaming import look_ahead
from mdhr_jax.predict.checkpoint import Trained
from mdhr_jax.training.experiment import versions


def meaning(trained: Trained) -> dict[str, Any]:
    """AUs, thresholds, protocol, checkpoint, recipe, look-ahead in frames and versions, as JSON.

    Args:
        trained: the checkpoint.
    """
    return {
        "au_names": list(trained.au_set.au_names),
        "thresholds": dict(trained.thresholds),
        "thresholds_chosen_on": trained.threshold_source,
        "protocol": trained.meta.get("protocol"),
        "checkpoint": trained.describe(),
        "crop_recipe": trained.meta["crop_recipe"],
        "image_size": trained.image_size,
        "clip_length": trained.clip_length,
        "look_ahead": {
            "model": look_ahead(trained.model.config),
            "alignment": trained.recipe.filter.look_ahead,
        },
        "interpolated": False,
        "versions": versions(),
    }
