import importlib.util
import json
import os
from pathlib import Path

import pytest

from mdhr_jax import config as config_lib
from mdhr_jax.training import workdir

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.py"))


def load(path, argument=None):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.get_config(argument)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_every_config_is_valid_and_is_json(path):
    config = load(path, "fold=3")
    config_lib.validate(config)
    assert config.fold == 3
    json.dumps(config_lib.as_json(config))
    with pytest.raises(ValueError, match=r"'colour=red' is not understood.*fold"):
        load(path, "colour=red")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_resolved_configs_are_the_golden_ones(path):
    flat = config_lib.flatten(load(path))
    text = "".join(f"{key} = {json.dumps(flat[key])}\n" for key in sorted(flat))
    golden = Path(__file__).parent / "golden_configs" / f"{path.stem}.txt"
    if os.environ.get("REWRITE_GOLDEN_CONFIGS"):
        golden.write_text(text)
    assert text == golden.read_text(), (
        "if the change is meant: REWRITE_GOLDEN_CONFIGS=1 python -m pytest tests/test_config.py"
    )


def test_arguments_keep_their_types():
    config = config_lib.apply_arguments(
        config_lib.base(), "fold=2, backbone=Swin_Base,learning_rate=3e-4,pretrained=a/b"
    )
    assert (config.fold, config.model.backbone, config.train.learning_rate) == (2, "Swin_Base", 3e-4)
    assert config.model.pretrained == "a/b"
    for wrong in ("fold=two", "fold", "batch_size=1.5"):
        with pytest.raises(ValueError, match="config argument"):
            config_lib.apply_arguments(config_lib.base(), wrong)


def test_synthetic_config_chooses_its_aus():
    path = next(path for path in CONFIGS if path.stem == "synthetic")
    assert load(path, "like=disfa").dataset == "synthetic_disfa"
    assert load(path).data.generate.like == "bp4d"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("fold", 0, "fold 0 does not exist"),
        ("dataset", "ckplus", "not in the AU table"),
        ("mode", "test", "expected one of train, eval"),
        ("data.last_batch", "drop", "across, partial"),
        ("eval.protocol", "best", "expected one of paper, honest"),
        ("eval.validation_share", 1.0, "must be between 0 and 1"),
        ("train.epochs", 0, "must be positive"),
        ("train.learning_rate", -1.0, "must be positive"),
        ("train.weight_decay", -1.0, "must not be negative"),
        ("train.ema", 1.0, r"in \[0, 1\)"),
        ("train.clip_norm", 0.0, "must be positive"),
        ("train.accumulate", 3, "equal micro-batches"),
        ("model.backbone", "vgg", "model.backbone"),
        ("model.batch_norm_groups", 0, "must be positive"),
        ("model.batch_norm_groups", 3, "batches of 8 clips .* in config.model.batch_norm_groups = 3"),
        ("data.image_size", 100, "multiples of 32"),
        ("data.image_size", 256, "at most 224"),
        ("data.jitter", 1.0, "config.data.jitter"),
        ("model.aux", False, "needs model.aux"),
    ],
)
def test_wrong_values_are_refused(key, value, message):
    config = config_lib.base()
    with config.unlocked():
        node = config
        *parents, leaf = key.split(".")
        for parent in parents:
            node = node[parent]
        node[leaf] = value
    with pytest.raises(ValueError, match=message):
        config_lib.validate(config)


def test_identity_covers_what_changes_results_and_nothing_else():
    base = config_lib.base().to_dict()
    original = config_lib.config_hash(base)
    for section, key, value, changes in [
        ("train", "learning_rate", 1.0, True),
        ("eval", "every_epochs", 1, True),
        ("eval", "protocol", "honest", True),
        ("eval", "validation_share", 0.5, False),
        ("data", "clip_length", 8, True),
        ("model", "edges", "full", True),
        ("data", "workers", 7, False),
        ("data", "dir", "elsewhere", False),
        ("mesh", "fsdp", 4, False),
        ("log", "tensorboard", False, False),
        ("checkpoint", "keep", 9, False),
        ("eval", "checkpoint", "x", False),
        ("debug", "deterministic", True, False),
    ]:
        changed = {name: dict(v) if isinstance(v, dict) else v for name, v in base.items()}
        changed[section][key] = value
        assert (config_lib.config_hash(changed) != original) == changes, (section, key)
    honest = base | {"eval": base["eval"] | {"protocol": "honest"}}
    other_share = base | {"eval": honest["eval"] | {"validation_share": 0.5}}
    assert config_lib.config_hash(honest) != config_lib.config_hash(other_share)
    keys = config_lib.flatten(base)
    for skipped in config_lib._WITHOUT_EFFECT:
        assert any(key == skipped or key.startswith(f"{skipped}.") for key in keys), skipped
    assert config_lib.config_hash(base | {"mode": "eval"}) == original
    assert config_lib.config_hash(base | {"dataset": "BP4D"}) == original
    assert config_lib.config_hash(base | {"seed": 1}) != original


def test_configurations_from_before_the_protocols_are_those_of_the_papers():
    base = config_lib.base().to_dict()
    added = ("protocol", "validation_share")
    old = base | {"eval": {key: value for key, value in base["eval"].items() if key not in added}}
    assert config_lib.config_hash(old) == config_lib.config_hash(base)
    assert config_lib.differences(old, base) == []
    honest = base | {"eval": base["eval"] | {"protocol": "honest"}}
    assert config_lib.differences(old, honest)[0] == "eval.protocol: 'paper' there, 'honest' now"


def test_a_workdir_belongs_to_one_configuration(tmp_path):
    config = config_lib.base()
    run = tmp_path / "deep" / "run"
    workdir.claim(run, config)
    first = (run / workdir.CONFIG_FILE).read_bytes()
    assert not workdir.holds_run(run)
    config.train.epochs = 3
    workdir.claim(run, config)  # Nothing is saved yet, so a corrected configuration may start here.
    first = (run / workdir.CONFIG_FILE).read_bytes()
    (run / workdir.CHECKPOINTS / "7").mkdir(parents=True)
    config.log.every_steps = 99
    workdir.claim(run, config)
    config.seed, config.model.mfd_scales = 5, (1, 2)
    with pytest.raises(
        ValueError, match=r"another configuration:\n.*mfd_scales: \[1, 2, 3, 4\].*\n.*seed: 0 there, 5 now"
    ):
        workdir.claim(run, config)
    assert (run / workdir.CONFIG_FILE).read_bytes() == first
    (run / workdir.CONFIG_FILE).write_text("{")
    with pytest.raises(ValueError, match="is not JSON"):
        workdir.claim(run, config)


def test_default_workdir_names_data_set_and_fold():
    config = config_lib.base()
    config.dataset, config.fold = "BP4D", 2
    assert workdir.default_workdir(config) == Path("runs/bp4d-fold2")
