"""The configuration of a run: its defaults, its argument string, its checks, its identity.

`configs/*.py` start from `base` and change what differs. All keys are listed here.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict, config_dict

from mdhr_jax import facs
from mdhr_jax.data.clips import resized_edge
from mdhr_jax.models.mdhr import MDHRConfig

SCRATCH = "none"
"""Value of `model.pretrained` that asks for random initial weights."""

# Arguments of a config file (`configs/bp4d.py:fold=2,backbone=swin_base`) and the keys they set.
_ARGUMENTS = {
    "fold": "fold",
    "seed": "seed",
    "mode": "mode",
    "backbone": "model.backbone",
    "variant": "model.variant",
    "neighbors": "model.neighbors",
    "edges": "model.edges",
    "fusion": "model.fusion",
    "dtype": "model.dtype",
    "pretrained": "model.pretrained",
    "init_from": "model.init_from",
    "data": "data.dir",
    "epochs": "train.epochs",
    "batch_size": "train.batch_size",
    "learning_rate": "train.learning_rate",
    "protocol": "eval.protocol",
}

# Keys that change where, how fast or how talkatively a run goes, but not its result. Every other key is part
# of a run's identity.
_WITHOUT_EFFECT = (
    "mode",
    "mesh",
    "distributed",
    "model.remat",
    "model.remat_stages",
    "data.dir",
    "data.workers",
    "data.prefetch",
    "eval.batch_size",
    "eval.checkpoint",
    "checkpoint",
    "log",
    "compile_cache",
    "debug",
)


def base() -> ConfigDict:
    """All keys, with the reference's training recipe (specification, section 10)."""
    config = ConfigDict()
    config.dataset = "bp4d"  # An entry of the AU table, mdhr_jax/facs.py.
    config.fold = 1
    config.seed = 0
    config.mode = "train"  # Or "eval": evaluate a checkpoint.

    config.model = ConfigDict(
        {
            "backbone": "resnet50",
            "variant": "reference",
            "width": 512,
            "neighbors": 5,
            "mfd": True,
            "afe": True,
            "aux": True,
            "crm": True,
            "tcn": True,
            "mfd_scales": (1, 2, 3, 4),
            "fusion": "adaptive",
            "edges": "cross_activated",
            "dense_graph": False,
            "batch_norm_groups": 1,  # Groups of clips normalised apart: n for the reference's n GPUs.
            "remat": False,  # Recompute backbone blocks in the backward pass: less memory, more time.
            "remat_stages": (1, 2, 3, 4),  # Of these stages; the first ones take most of the memory.
            "drop_path": config_dict.placeholder(float),  # The Swin backbone's own where absent.
            "dtype": "float32",
            "param_dtype": "float32",
            # Backbone weights: a path, or "none" to start from random ones.
            "pretrained": SCRATCH,
            # Weights of a whole model: a path, or empty.
            "init_from": "",
        }
    )
    config.data = ConfigDict(
        {
            "dir": "data",
            "clip_length": 16,  # Frames.
            "image_size": 224,  # Pixels.
            "clips_per_video": 1,  # Drawn from each training video in an epoch.
            "crop_margin": 32,  # Pixels of a frame of 256 that a training crop leaves out.
            "jitter": 0.4,  # Brightness, contrast and saturation vary by this share either way.
            "last_batch": "across",  # "partial": an epoch ends with a short batch, as in the reference.
            "workers": 0,  # Threads that decode; 0 takes the machine's cores.
            "prefetch": 2,  # Batches decoded ahead.
        }
    )
    config.train = ConfigDict(
        {
            "epochs": 200,
            "batch_size": 8,  # Clips, over all devices.
            "learning_rate": 1e-4,
            "weight_decay": 5e-4,
            "warmup_steps": 0,
            "clip_norm": config_dict.placeholder(float),  # Largest gradient norm; absent: no clipping.
            "accumulate": 1,  # Micro-batches a step.
            "ema": 0.0,  # Decay of the averaged weights that are then evaluated; 0: none.
            "region_weight": 0.01,
        }
    )
    config.eval = ConfigDict(
        {
            "every_epochs": 25,
            "batch_size": 8,  # Windows.
            "protocol": "paper",  # Or "honest", see mdhr_jax/training/protocols.py.
            "validation_share": 0.2,  # Of the training subjects; honest protocol only.
            "checkpoint": "",  # A workdir or a checkpoint; empty: the best of this workdir.
        }
    )
    # every_steps 0: at every evaluation only.
    config.checkpoint = ConfigDict({"every_steps": 0, "keep": 2})
    # Devices along each axis of the mesh; -1 takes the rest.
    config.mesh = ConfigDict({"data": -1, "fsdp": 1})
    # Of runs of several processes, in seconds.
    config.distributed = ConfigDict(
        {
            "timeout": 50,  # In which all must have come.
            "silent_timeout": 60,  # After which one that is not heard of is taken to be gone.
            "step_timeout": 600,  # After which one that has come no further ends the run; 0: never.
        }
    )
    config.log = ConfigDict({"every_steps": 10, "tensorboard": True})
    # Where compiled programs are kept, see mdhr_jax/compile_cache.py: "auto" is in the run's directory.
    config.compile_cache = "auto"
    # Switches of mdhr_jax/training/debug.py; they make a run slower.
    config.debug = ConfigDict(
        {
            "deterministic": False,  # GPUs add in one order only: reruns are the same to the bit.
            "nans": False,  # The operation that first gives a NaN is named.
            "transfer_guard": "allow",  # "disallow": transfers that a step does unasked are errors.
            "profile": (0, 0),  # First and last step that are recorded in profile/; zeros for none.
        }
    )
    return config


def apply_arguments(config: ConfigDict, argument: str | None, **extra: str) -> ConfigDict:
    """Sets what the text behind the colon of ``--config file.py:key=value,key=value`` asks for.

    Args:
        config: changed in place and returned.
        argument: comma-separated assignments, or nothing.
        extra: further argument names of this file and the dotted keys that they set.

    Raises:
        ValueError: not an assignment, an unknown argument, or a value of the wrong type.
    """
    known = _ARGUMENTS | extra
    for assignment in filter(None, (argument or "").split(",")):
        name, separator, text = (part.strip() for part in assignment.partition("="))
        if not separator or name not in known:
            raise ValueError(
                f"config argument {assignment!r} is not understood; expected key=value with a key out of "
                f"{', '.join(sorted(known))}"
            )
        _set(config, known[name], text)
    return config


def _set(config: ConfigDict, key: str, text: str) -> None:
    *parents, leaf = key.split(".")
    node: Any = config
    for parent in parents:
        node = node[parent]
    kind = type(node[leaf])
    try:
        node[leaf] = kind(text)
    except ValueError:
        raise ValueError(f"config argument {key}={text!r}: expected {kind.__name__}") from None


def validate(config: ConfigDict) -> None:
    """Checks values that can be checked without data or devices.

    Raises:
        ValueError: saying what was found and what is allowed.
    """
    facs.get(config.dataset)
    facs.part_tested(config.fold)
    choices = {
        "mode": ("train", "eval"),
        "data.last_batch": ("across", "partial"),
        "eval.protocol": ("paper", "honest"),
        "debug.transfer_guard": ("allow", "log", "disallow"),
    }
    flat = flatten(config)
    for key, allowed in choices.items():
        if flat[key] not in allowed:
            raise ValueError(f"config.{key} is {flat[key]!r}, expected one of {', '.join(allowed)}")
    positive = (
        "model.batch_norm_groups",
        "data.image_size",
        "data.clips_per_video",
        "train.epochs",
        "train.batch_size",
        "train.learning_rate",
        "train.accumulate",
        "eval.every_epochs",
        "eval.batch_size",
        "checkpoint.keep",
        "log.every_steps",
        "data.clip_length",
        "data.prefetch",
        "distributed.timeout",
        "distributed.silent_timeout",
    )
    for key in positive:
        if not flat[key] > 0:
            raise ValueError(f"config.{key} must be positive, found {flat[key]!r}")
    for key in (
        "train.weight_decay",
        "train.region_weight",
        "checkpoint.every_steps",
        "data.workers",
        "distributed.step_timeout",
    ):
        if flat[key] < 0:
            raise ValueError(f"config.{key} must not be negative, found {flat[key]!r}")
    if not 0 < config.eval.validation_share < 1:
        raise ValueError(
            f"config.eval.validation_share must be between 0 and 1, found {config.eval.validation_share}"
        )
    if not 0.0 <= config.train.ema < 1.0:
        raise ValueError(f"config.train.ema must be in [0, 1), found {config.train.ema}")
    if config.train.clip_norm is not None and not config.train.clip_norm > 0:
        raise ValueError(f"config.train.clip_norm must be positive, found {config.train.clip_norm}")
    if config.train.batch_size % config.train.accumulate:
        raise ValueError(
            f"config.train.batch_size {config.train.batch_size} cannot be cut into "
            f"config.train.accumulate {config.train.accumulate} equal micro-batches"
        )
    micro_batch = config.train.batch_size // config.train.accumulate
    if micro_batch % config.model.batch_norm_groups:
        raise ValueError(
            f"batches of {micro_batch} clips (train.batch_size / train.accumulate) cannot be normalised in "
            f"config.model.batch_norm_groups = {config.model.batch_norm_groups} equal groups"
        )
    if config.data.last_batch == "partial" and config.model.batch_norm_groups > 1:
        raise ValueError(
            "config.data.last_batch='partial' makes batches of two sizes, which model.batch_norm_groups "
            "cannot cut; choose 'across' or batch_norm_groups=1"
        )
    if config.train.accumulate > 1 and config.data.last_batch == "partial":
        raise ValueError(
            "config.data.last_batch='partial' makes batches of two sizes, which gradient accumulation "
            "cannot cut; choose 'across' or train.accumulate=1"
        )
    profiled = tuple(config.debug.profile)
    if len(profiled) != 2 or (profiled != (0, 0) and not 1 <= profiled[0] <= profiled[1]):
        raise ValueError(
            f"config.debug.profile is {profiled}, expected the first and the last step to record, such as "
            '"(10, 12)", or "(0, 0)" for none'
        )
    if not 0 <= config.data.jitter < 1:
        raise ValueError(f"config.data.jitter must be in [0, 1), found {config.data.jitter}")
    resized_edge(config.data.image_size, config.data.crop_margin)
    model_config(config).check_image_size(config.data.image_size)


def model_config(config: ConfigDict) -> MDHRConfig:
    """The model's part of the configuration.

    Raises:
        ValueError: fields that do not exist or contradict each other.
    """
    fields = config.model.to_dict()
    for name in ("pretrained", "init_from"):
        del fields[name]
    return MDHRConfig(facs.get(config.dataset), **fields)


def flatten(config: Mapping[str, Any] | ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Leaves by dotted key, tuples as lists, as they come back from JSON."""
    leaves: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping | ConfigDict):
            leaves |= flatten(value, f"{prefix}{key}.")
        else:
            leaves[prefix + key] = list(value) if isinstance(value, tuple) else value
    return leaves


def as_json(config: ConfigDict) -> dict[str, Any]:
    """The whole configuration as nested dictionaries of what JSON can hold."""
    return json.loads(json.dumps(config.to_dict()))


def identity(config: Mapping[str, Any] | ConfigDict) -> dict[str, Any]:
    """What of a configuration changes results, by dotted key; names in lower case."""
    leaves = {
        key: value
        for key, value in flatten(config).items()
        if not any(key == skipped or key.startswith(f"{skipped}.") for skipped in _WITHOUT_EFFECT)
    }
    for key in ("dataset", "model.backbone"):
        leaves[key] = str(leaves[key]).lower()
    # Runs from before there was a choice have neither key; they are the same runs.
    if leaves.get("eval.protocol", "paper") == "paper":
        for key in ("eval.protocol", "eval.validation_share"):
            leaves.pop(key, None)
    return leaves


def config_hash(config: Mapping[str, Any] | ConfigDict) -> str:
    """Twelve hexadecimal digits that name the `identity` of a configuration."""
    text = json.dumps(identity(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def wrong_kinds(found: Mapping[str, Any]) -> list[str]:
    """One line for each key of a configuration whose value is of another kind than that of `base`.

    Args:
        found: as JSON has it; keys may be missing, as they are in runs of older versions.
    """
    flat, usual = flatten(found), flatten(base())
    sections = {key.rpartition(".")[0] for key in usual}
    return [
        f"{key} is {value!r}"
        for key, value in flat.items()
        if (key in usual and not _same_kind(value, usual[key])) or key in sections
    ]


def _same_kind(value: Any, usual: Any) -> bool:
    if usual is None:  # A number that may be absent.
        return value is None or (isinstance(value, int | float) and not isinstance(value, bool))
    if isinstance(usual, float):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if isinstance(usual, list):
        return isinstance(value, list) and all(type(item) is type(usual[0]) for item in value)
    return type(value) is type(usual)


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """One line for each result-changing key in which two configurations differ."""
    old, new = identity(found), identity(wanted)
    absent = "(absent)"
    for leaves in (old, new):
        leaves.setdefault("eval.protocol", "paper")
    return [
        f"{key}: {old.get(key, absent)!r} there, {new.get(key, absent)!r} now"
        for key in sorted(old.keys() | new.keys())
        if old.get(key, absent) != new.get(key, absent)
    ]
