"""MDHR on BP4D, three folds by subject (paper, Table 1).

    python -m mdhr_jax.main --config configs/bp4d.py:fold=1,pretrained=PATH
    python -m mdhr_jax.main --config configs/bp4d.py:fold=1,backbone=swin_base,pretrained=PATH

PATH holds ImageNet weights of the backbone; ``pretrained=none`` starts from random ones. The paper reports a
mean F1 of 66.6 (ResNet-50) and 66.1 (Swin-B) over the three folds, with the checkpoint chosen on the test
fold; outside its authors' group about 64 has been reached.
"""

from ml_collections import ConfigDict

from mdhr_jax import config as config_lib


def get_config(argument: str | None = None) -> ConfigDict:
    config = config_lib.base()
    config.dataset = "bp4d"
    config.model.pretrained = ""  # Asked for: see mdhr_jax/training/weights.py.
    return config_lib.apply_arguments(config, argument)
