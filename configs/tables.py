"""Every row of the paper's tables that its authors trained, and a few more: one configuration a row.

    python -m mdhr_jax.main --workdir RUN --config configs/tables.py:table=3,row=mfd+hsr,pretrained=PATH
    python -m mdhr_jax.main --workdir RUN --config configs/tables.py:table=3,row=mfd+hsr,scale=laptop

``python -m mdhr_jax.tables run`` runs whole tables so. Rows of a table differ in nothing but what the table
is about; which they are, and what of them the paper leaves open, stands in ``mdhr_jax/paper.py`` and
``mdhr_jax/tables/rows.py``.

``scale=full``, the default, is the paper's: BP4D or DISFA, the recipe of ``configs/bp4d.py``, ImageNet
weights in PATH. Rows of table 2 that end in ``-bp4d`` start from a model of table 1 instead, in
``init_from=RUN``.

``scale=laptop`` puts drawn faces and a narrow backbone in their place, the same faces for every row, fold and
seed: two minutes a run on two CPU cores. It shows that everything runs, and whatever an ablation shows on
drawn faces; it says nothing about real ones. Swin's rows have no such scale, because it takes images of 224
pixels only.
"""

from ml_collections import ConfigDict

from mdhr_jax import config as config_lib
from mdhr_jax.paper import FULL
from mdhr_jax.tables import rows

SCALES = ("full", "laptop")


def get_config(argument: str | None = None) -> ConfigDict:
    chosen = {"table": "3", "row": FULL, "scale": "full"}
    rest = []
    for assignment in (argument or "").split(","):
        name, _, value = (part.strip() for part in assignment.partition("="))
        if name in chosen and value:
            chosen[name] = value
        else:
            rest.append(assignment)
    table, scale = chosen["table"], chosen["scale"]
    row = rows.find(table, chosen["row"])
    if scale not in SCALES:
        raise ValueError(f"scale={scale} does not exist; choose one of {', '.join(SCALES)}")

    config = config_lib.base()
    config.dataset = rows.dataset_of(table)
    config.model.update(dict(row.settings or {}))
    config.model.pretrained = ""  # Asked for: see mdhr_jax/training/weights.py.
    if scale == "laptop":
        _shrink(config, f"row {row.name!r} of table {table}")
        if table != rows.SWEEP:
            config.model.neighbors = 2  # See configs/temporal.py.
    config_lib.apply_arguments(config, ",".join(rest))
    if row.finetuned:
        if not config.model.init_from:
            raise ValueError(
                f"row {row.name!r} of table {table} starts from a model trained on BP4D; name its run with "
                "init_from=RUN"
            )
        config.model.pretrained = config_lib.SCRATCH
    return config


def _shrink(config: ConfigDict, row: str) -> None:
    """Replaces data, backbone and recipe by small ones."""
    if config.model.backbone != "resnet50":
        raise ValueError(
            f"{row} has no scale=laptop: {config.model.backbone} takes images of 224 pixels only"
        )
    like = config.dataset
    config.dataset = f"synthetic_{like}"
    config.data.generate = ConfigDict(
        {"like": like, "preset": "changing", "seed": 0, "subjects": 72, "videos": 1, "frames": 96}
    )
    config.data.dir = "data/tables"
    config.model.backbone = "tiny"
    config.model.width = 64
    config.model.pretrained = config_lib.SCRATCH
    config.data.image_size = 96
    config.data.crop_margin = 6
    config.data.jitter = 0.2
    config.train.batch_size = 4
    config.train.epochs = 40
    config.train.learning_rate = 2e-3
    config.eval.every_epochs = 20
    config.log.every_steps = 20
    config.log.tensorboard = False
