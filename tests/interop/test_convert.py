import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest

from mdhr_jax import convert
from mdhr_jax.interop import conversion, files, names
from mdhr_jax.interop.torch_weights import reference_config
from mdhr_jax.training import checkpoints
from tests import tiny
from tests.interop import golden_fixtures


def tensors_of(dataset, backbone):
    """Weights of the reference in float32, by PyTorch's names."""
    config = reference_config(dataset, backbone)
    params, batch_stats = tiny.shapes(config)
    found = {}
    for path, source in names.sources([*params, *batch_stats], config.au_set).items():
        for name in source.names:
            shape = source.torch_shape((params | batch_stats)[path].shape)
            weight = golden_fixtures.weight(name, shape).astype(np.float32)
            found[name] = np.array(11) if source.counter else weight
    return found


def backbone_of(tensors):
    """As torchvision saves it, with the classifier of ImageNet."""
    found = {n.removeprefix("Backbone."): t for n, t in tensors.items() if n.startswith("Backbone.")}
    return found | {"fc.weight": np.zeros((10, 512), np.float32), "fc.bias": np.zeros(10, np.float32)}


@pytest.fixture(scope="module")
def tensors():
    return tensors_of("disfa", "resnet18")


@pytest.fixture(scope="module")
def folder(tensors, tmp_path_factory):
    """A model and a backbone as safetensors."""
    folder = tmp_path_factory.mktemp("weights")
    files.write_tensors(folder / "model.safetensors", tensors, {})
    files.write_tensors(folder / "backbone.safetensors", backbone_of(tensors), {})
    return folder


def run(*arguments):
    return convert.main([str(argument) for argument in arguments])


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        np.testing.assert_array_equal(found[name], tensor, err_msg=name)
        assert found[name].dtype == tensor.dtype, name


def test_a_model_comes_in_and_goes_out_again(tensors, folder, tmp_path, capsys):
    assert run(folder / "model.safetensors", tmp_path / "ours", "--fold", 2, "--neighbors", 3) == 0
    assert "MDHR for DISFA, backbone resnet18" in capsys.readouterr().out
    _, _, meta = checkpoints.load_model(tmp_path / "ours")
    assert meta["au_names"] == [f"AU{n}" for n in (1, 2, 4, 6, 9, 12, 25, 26)]
    assert (meta["fold"], meta["model"]["neighbors"], meta["crop_recipe"]) == (2, 3, None)
    assert meta["source"]["file"] == "model.safetensors"
    assert run(tmp_path / "ours", tmp_path / "back.safetensors") == 0
    back, info = files.read_tensors(tmp_path / "back.safetensors")
    assert_same(back, tensors)
    assert info["num_neighbors"] == "3"
    assert run(tmp_path / "back.safetensors", tmp_path / "again") == 0
    assert checkpoints.load_model(tmp_path / "again")[2]["model"]["neighbors"] == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["again", "back.safetensors", "ours"]


def test_a_backbone_loses_its_classifier_aloud(tensors, folder, tmp_path, capsys):
    assert run(folder / "backbone.safetensors", tmp_path / "ours") == 0
    said = capsys.readouterr().out
    assert "left out, as the model has no use for them: fc.bias, fc.weight" in said
    assert f"--config.model.pretrained={tmp_path / 'ours'}" in said
    assert run(tmp_path / "ours", tmp_path / "back.safetensors") == 0
    back, _ = files.read_tensors(tmp_path / "back.safetensors")
    expected = backbone_of(tensors)
    assert_same(back, {n: t for n, t in expected.items() if not n.startswith("fc.")})


@pytest.mark.slow
def test_a_converted_backbone_starts_a_run(tensors, folder, tmp_path, synthetic_data, environment):
    assert run(folder / "backbone.safetensors", tmp_path / "ours") == 0
    command = [
        *(sys.executable, "-m", "mdhr_jax.main", "--config", "configs/quickstart.py:backbone=resnet18"),
        *("--workdir", str(tmp_path / "run"), f"--config.data.dir={synthetic_data}"),
        f"--config.model.pretrained={tmp_path / 'ours'}",
        *("--config.model.width=8", "--config.data.image_size=64", "--config.data.clip_length=4"),
        *("--config.data.generate.subjects=6", "--config.data.generate.videos=1"),
        *("--config.data.generate.frames=24", "--config.train.batch_size=4", "--config.train.epochs=1"),
        *("--config.train.learning_rate=1e-30", "--config.train.weight_decay=0"),
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    params, batch_stats, _ = checkpoints.load_model(tmp_path / "run")
    kernel = tensors["Backbone.layer2.0.conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_allclose(params["backbone.stages.1.0.convs.0.kernel"], kernel, atol=1e-12)
    assert batch_stats["backbone.stem_norm.num_batches"] == 11 + 1


def test_pytorch_files_both_ways(tensors, tmp_path):
    torch = pytest.importorskip("torch")
    saved = {f"module.{name}": torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()}
    torch.save({"epoch": 4, "state_dict": saved, "optimizer": {"lr": 1e-4}}, tmp_path / "reference.pth")
    assert run(tmp_path / "reference.pth", tmp_path / "ours") == 0
    assert run(tmp_path / "ours", tmp_path / "back.pth") == 0
    content = torch.load(tmp_path / "back.pth", weights_only=True)
    assert_same({name: tensor.numpy() for name, tensor in content["state_dict"].items()}, tensors)


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("harmed",)


def test_unreadable_pytorch_files_are_refused(tensors, tmp_path, monkeypatch, capsys):
    torch = pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    torch.save({"classifier": torch.zeros(2)}, "good.pth")
    content = (tmp_path / "good.pth").read_bytes()
    (tmp_path / "truncated.pth").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.pth").write_bytes(b"")
    (tmp_path / "harmful.pth").write_bytes(pickle.dumps({"state_dict": Harmful()}, protocol=2))
    torch.save({"state_dict": {"w": torch.zeros(2)}, "extra": Harmful()}, "hidden.pth")
    (tmp_path / "text.pth").write_text("not weights")
    for name, message in (
        ("truncated", "is damaged or not a PyTorch file"),
        ("empty", "not a PyTorch file"),
        ("harmful", "could run code"),
        ("hidden", "could run code"),
        ("text", "is not a PyTorch file, or"),
        ("absent", "does not exist"),
        ("good", "nothing"),
    ):
        before = sorted(path.name for path in tmp_path.iterdir())
        assert run(f"{name}.pth", "out") == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        if name != "good":
            assert message in said
            assert len(said.splitlines()) == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_truncated_pytorch_files_are_refused_wherever_they_end(tmp_path, capsys):
    """The older of PyTorch's formats, in which torchvision's weights come, ends in the middle of a pickle."""
    torch = pytest.importorskip("torch")
    content = {f"layer{i}.weight": torch.arange(3.0 * i).reshape(3, i) for i in range(1, 5)}
    for name, new in (("old.pth", False), ("new.pth", True)):
        torch.save(content, tmp_path / name, _use_new_zipfile_serialization=new)
        whole = (tmp_path / name).read_bytes()
        for length in range(0, len(whole) - 8, 7):
            (tmp_path / "cut.pth").write_bytes(whole[:length])
            assert run(tmp_path / "cut.pth", tmp_path / "out") == 2
            said = capsys.readouterr().err
            assert len(said.splitlines()) == 1, said
            assert "cut.pth" in said
    assert not (tmp_path / "out").exists()


def test_a_flipped_bit_is_found(tmp_path, capsys):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.full((1000,), 0.123)}, tmp_path / "good.pth")
    content = bytearray((tmp_path / "good.pth").read_bytes())
    content[content.index(np.float32(0.123).tobytes()) + 400] ^= 1
    (tmp_path / "bad.pth").write_bytes(content)
    assert run(tmp_path / "bad.pth", tmp_path / "out") == 2
    assert "check sum" in capsys.readouterr().err


def test_an_official_swin_file_is_known_and_no_resnet(tmp_path, capsys):
    """As Microsoft publishes them: under ``model``, with the head of 22k classes and constant buffers."""
    found = tensors_of("disfa", "swin_tiny")
    swin = {n.removeprefix("Backbone."): t for n, t in found.items() if n.startswith("Backbone.")}
    swin |= {"head.weight": np.zeros((21841, 768), np.float32), "head.bias": np.zeros(21841, np.float32)}
    swin |= {"layers.0.blocks.1.attn_mask": np.zeros((64, 49, 49), np.float32)}
    files.write_tensors(tmp_path / "swin.safetensors", swin, {})
    assert run(tmp_path / "swin.safetensors", tmp_path / "ours") == 0
    said = capsys.readouterr().out
    assert "backbone swin_tiny" in said
    assert "head.bias, head.weight" in said
    assert run(tmp_path / "swin.safetensors", tmp_path / "other", "--backbone", "resnet50") == 2
    assert "Backbone.layers.0.blocks.0" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_what_a_checkpoint_of_ours_says_is_not_overruled(folder, tmp_path, capsys):
    assert run(folder / "model.safetensors", tmp_path / "ours") == 0
    for options, message in (
        (("copy",), "a checkpoint of this project already"),
        (("out.safetensors", "--neighbors", 3), "--neighbors: .* says what it is"),
    ):
        assert run(tmp_path / "ours", tmp_path / options[0], *options[1:]) == 2
        assert re.search(message, capsys.readouterr().err)
    assert [path.name for path in tmp_path.iterdir()] == ["ours"]


def test_a_checkpoint_of_another_version_is_refused(tmp_path, capsys):
    for number, meta in enumerate(({}, {"model": {"backbone": "tiny"}}, {"dataset": "bp4d", "model": 3})):
        with checkpoints.Checkpoints(tmp_path / f"run{number}") as stored:
            stored.save(1, {"params": {"a": np.zeros(2)}, "batch_stats": {"b": np.zeros(2)}}, meta)
        assert run(tmp_path / f"run{number}", tmp_path / "out.safetensors") == 2
        assert "does not say what model it holds" in capsys.readouterr().err


def test_the_noted_number_of_neighbors_holds(tensors, tmp_path, capsys):
    for noted, asked, message in (
        ("3", 4, "notes k = 3"),
        ("abc", 3, "expected a whole number"),
        ("3", 0, "at least 1"),
    ):
        files.write_tensors(tmp_path / "noted.safetensors", tensors, {"num_neighbors": noted})
        assert run(tmp_path / "noted.safetensors", tmp_path / "out", "--neighbors", asked) == 2
        assert message in capsys.readouterr().err


def test_weights_of_something_else_are_refused(folder, tmp_path, capsys):
    cases = (
        (["model.safetensors", "--dataset", "bp4d"], "LRM.down1_fc.weight"),
        (["model.safetensors", "--backbone", "resnet50"], "Backbone.layer1.0.conv3.weight"),
        (["backbone.safetensors", "--backbone", "swin_base"], "Backbone.layers.0.downsample.norm.weight"),
        (["model.safetensors", "--dataset", "none"], "none"),
        (["model.safetensors", "--to", "torch"], "--to torch needs a DST ending in"),
    )
    for (source, *options), message in cases:
        assert run(folder / source, tmp_path / "out", *options) == 2
        assert message in capsys.readouterr().err
        assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(folder, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out.safetensors").write_text("precious")
    for target in ("out", "out.safetensors"):
        assert run(folder / "backbone.safetensors", tmp_path / target) == 2
        assert "exists already" in capsys.readouterr().err
    assert (tmp_path / "out.safetensors").read_text() == "precious"


def test_a_damaged_safetensors_file_is_refused(folder, tmp_path, capsys):
    content = (folder / "model.safetensors").read_bytes()
    (tmp_path / "short.safetensors").write_bytes(content[:1000])
    assert run(tmp_path / "short.safetensors", tmp_path / "out") == 2
    assert "is not a readable safetensors file" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_model_without_a_counterpart_stays_ours(tmp_path, capsys):
    config = tiny.config()
    params, batch_stats = tiny.weights(config)
    model = {"backbone": "tiny", "width": 8, "neighbors": 2, "mfd_scales": [1, 2, 3, 4]}
    meta = {"dataset": "bp4d", "model": model}
    with checkpoints.Checkpoints(tmp_path / "run") as stored:
        stored.save(1, {"params": params, "batch_stats": batch_stats}, meta)
    assert run(tmp_path / "run", tmp_path / "out.safetensors") == 2
    assert "the PyTorch reference has no" in capsys.readouterr().err
    assert conversion.read_checkpoint(tmp_path / "run").config.width == 8
