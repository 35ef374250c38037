"""MDHR on DISFA, three folds by subject (paper, Table 2).

    python -m mdhr_jax.main --config configs/disfa.py:fold=1,pretrained=PATH
    python -m mdhr_jax.main --config configs/disfa.py:fold=1,backbone=swin_base,pretrained=PATH

A fold has just 18 training videos, hence 18 clips an epoch by default: 3 steps at batch 8. Raise
``--config.data.clips_per_video`` for longer epochs. The paper reports a mean F1 of 64.9 (ResNet-50) and
66.2 (Swin-B); the reference code has no DISFA training, so the recipe here is the one for BP4D.
"""

from ml_collections import ConfigDict

from mdhr_jax import config as config_lib


def get_config(argument: str | None = None) -> ConfigDict:
    config = config_lib.base()
    config.dataset = "disfa"
    config.model.pretrained = ""  # Asked for: see mdhr_jax/training/weights.py.
    return config_lib.apply_arguments(config, argument)
