"""The command, up to where it needs PyTorch; a very small PyTorch stands in where it is only passed on."""

import os
import subprocess
import sys
import types

import pytest

from mdhr_jax import commands, compare, facs
from mdhr_jax.interop import comparison, comparison_run, reference_checkout, speed

MODEL = """
import torch
import torchvision.models
from timm.models.layers import DropPath, to_2tuple, trunc_normal_
from .resnet import *


class MDHR(torch.nn.Module):
    def __init__(self, dataset, num_classes, backbone, k):
        self.arguments = dataset, num_classes, backbone, k
        self.net = resnet50(pretrained=True)
        self.drop = DropPath(0.5)

    def modules(self):
        return [self, self.drop]

    def forward(self, x):
        return torch.Tensor().cuda() is not None
"""
UTILS = """
from torchvision import transforms
import torchvision.transforms.functional as F
name = __name__
WeightedAsymmetricLoss = adjust_learning_rate = None
"""
RESNET = """
import torch

def resnet50(pretrained=True, **kwargs):
    return torch.load("checkpoints/resnet50.pth") if pretrained else "random weights"
"""


@pytest.fixture
def checkout(tmp_path):
    """A folder with the files of the reference's that are needed, and very little in them."""
    files = {"model_BP4D": MODEL, "model_DISFA": MODEL, "resnet": RESNET, "swin_transformer": ""}
    for folder in ("model", "utils"):
        (tmp_path / folder).mkdir()
    for name, text in files.items():
        (tmp_path / "model" / f"{name}.py").write_text(text)
    (tmp_path / "utils" / "utils.py").write_text(UTILS)
    return tmp_path


@pytest.fixture
def torch(monkeypatch):
    """What the import of a checkout takes from PyTorch."""

    class Base:
        def cuda(self):
            raise AssertionError("no CUDA")

    class Tensor(Base):
        pass

    class Module:
        def __init__(self):
            pass

        def cuda(self):
            raise AssertionError("no CUDA")

    module = types.ModuleType("torch")
    flag = types.SimpleNamespace(allow_tf32=True)
    vars(module).update(
        Tensor=Tensor,
        nn=types.SimpleNamespace(Module=Module, init=types.SimpleNamespace(trunc_normal_=None)),
        cuda=types.SimpleNamespace(is_available=lambda: False),
        backends=types.SimpleNamespace(cuda=types.SimpleNamespace(matmul=flag), cudnn=flag),
        get_num_threads=lambda: 2,
        __version__="0",
    )
    monkeypatch.setitem(sys.modules, "torch", module)
    for name in ("torchvision", "timm"):
        monkeypatch.setitem(sys.modules, name, None)
    return module


def run(checkout, *arguments):
    return compare.main(["--reference", str(checkout), *map(str, arguments)])


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["--clip-length", "10"], ["at least 11 frames", "--neighbors is 5", "found --clip-length 10"]),
        (["--skip-parity"], ["nothing to do", "--speed"]),
        (["--report", "report.txt"], [".md or .html", "report.txt"]),
        (["--report", "nowhere/report.md"], ["no folder nowhere"]),
        (["--train", "2", "--curves", "curves.txt"], [".csv", "curves.txt"]),
        (["--train", "2", "--subjects", "2"], ["at least 3 subjects", "--subjects 2"]),
        (["--device", "gpu"], ["JAX and PyTorch found no GPU"]),
        (["--weights", "none.pth"], ["none.pth does not exist"]),
    ],
)
def test_mistakes_end_with_one_line(arguments, messages, checkout, torch, capsys):
    assert run(checkout, *arguments) == commands.MISTAKE
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    for message in messages:
        assert message in said


@pytest.mark.parametrize(
    "arguments",
    [["--clip-length", "0"], ["--train", "-1"], ["--dataset", "ck"], ["--backbone", "tiny"], ["--seed", "x"]],
)
def test_wrong_arguments_are_a_usage_error(arguments, checkout, capsys):
    with pytest.raises(SystemExit) as stopped:
        run(checkout, *arguments)
    assert stopped.value.code == commands.MISTAKE
    assert arguments[0] in capsys.readouterr().err


def test_a_folder_that_is_no_checkout_is_named(checkout, tmp_path, capsys):
    assert run(tmp_path / "none") == commands.MISTAKE
    assert f"{tmp_path / 'none'} is no checkout of the reference: there is no such" in capsys.readouterr().err
    (checkout / "model" / "model_DISFA.py").unlink()
    assert run(checkout, "--dataset", "disfa") == commands.MISTAKE
    assert "it lacks model/model_DISFA.py" in capsys.readouterr().err


def test_without_pytorch_its_installation_is_named(checkout, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert run(checkout) == commands.MISTAKE
    assert "pip install -e '.[torch]' in a clone" in capsys.readouterr().err


def test_a_broken_checkout_is_named(checkout, torch, capsys):
    (checkout / "model" / "resnet.py").write_text("def resnet50(:")
    assert run(checkout) == commands.MISTAKE
    said = capsys.readouterr().err
    assert f"the checkout {checkout} cannot be imported: invalid syntax" in said


def test_a_checkout_without_a_part_that_is_needed_is_named(checkout, torch, capsys):
    (checkout / "utils" / "utils.py").write_text(UTILS.replace("adjust_learning_rate", "other"))
    assert run(checkout) == commands.MISTAKE
    assert "has no adjust_learning_rate in" in capsys.readouterr().err


def test_only_what_is_asked_for_is_imported():
    """Neither PyTorch nor TensorFlow comes with the command's own modules."""
    code = "import sys, mdhr_jax.interop.comparison_run; print({'torch', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_a_checkout_is_imported_without_cuda_weights_torchvision_and_timm(checkout, torch):
    before = set(sys.modules)
    opened = reference_checkout.open_checkout(checkout, facs.DISFA)
    assert opened.utils.name.endswith("utils.utils")
    net = opened.build("swin_base", 3)
    assert net.arguments == ("DISFA", 8, "swin_transformer", 3)
    assert net.net == "random weights"
    assert net.drop.drop_prob == 0
    with reference_checkout.cuda_stays_on_cpu():
        assert net.forward(None)
        assert net.cuda() is net
    assert set(sys.modules) == before
    assert "cuda" not in vars(torch.Tensor)
    with pytest.raises(AssertionError, match="no CUDA"):
        torch.Tensor().cuda()
    with pytest.raises(AssertionError, match="no CUDA"):
        net.cuda()
    with pytest.raises(AttributeError):  # Outside, pretrained weights are loaded as before.
        opened.models.resnet50()
    assert not list(checkout.rglob("__pycache__"))


def test_data_sets_that_the_reference_does_not_know_are_refused(checkout):
    with pytest.raises(ValueError, match="no model for synthetic"):
        reference_checkout.open_checkout(checkout, facs.SYNTHETIC_BP4D)


@pytest.mark.parametrize(("judged", "code"), [(0.5, 0), (1.5, commands.FAILED)])
def test_exit_code_and_report_say_whether_something_departs(
    judged, code, checkout, torch, tmp_path, monkeypatch, capsys
):
    row = comparison.Row("G", judged, judged, judged, 1.0)
    section = comparison.Section("Evaluation mode", (row,))
    monkeypatch.setattr(comparison_run.Session, "compare", lambda self: [section])
    report = tmp_path / "report.md"
    assert run(checkout, "--report", report) == code
    printed, written = capsys.readouterr().out, report.read_text()
    verdict = "the first that departs is 'G'" if code else "every stage is within its limit"
    for text in (printed, written):
        assert verdict in text
        assert f"--reference {checkout} --report {report}" in text
        assert "BP4D, resnet50, k = 5" in text
    assert torch.backends.cudnn.allow_tf32


@pytest.mark.slow
@pytest.mark.skipif("MDHR_REFERENCE" not in os.environ, reason="MDHR_REFERENCE names no checkout")
@pytest.mark.parametrize("model", [("bp4d", "resnet50"), ("disfa", "swin_base")])
def test_a_real_checkout_agrees_in_float64(model, tmp_path):
    """In a process of its own, as a user runs it; needs PyTorch."""
    dataset, backbone = model
    report = tmp_path / "report.md"
    arguments = ["--reference", os.environ["MDHR_REFERENCE"], "--dataset", dataset, "--backbone", backbone]
    arguments += ["--float64", "--clip-length", "3", "--neighbors", "1", "--report", str(report)]
    done = subprocess.run(
        [sys.executable, "-m", "mdhr_jax.compare", *arguments], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every stage is within its limit" in report.read_text()


def test_timing_alternates_and_leaves_out_the_first_runs():
    calls = []
    times = speed.alternate(lambda: calls.append("torch"), lambda: calls.append("ours"), 3, lambda: None)
    assert calls == ["torch", "ours"] * 5
    assert [len(side) for side in times] == [3, 3]


def test_the_ratio_is_that_of_medians_and_its_spread_that_of_neighbours():
    timing = speed.Timing("forward", (2.0, 4.0, 9.0), (1.0, 2.0, 3.0), frames=8)
    assert timing.ratio == 2
    assert timing.spread == (2, 3)
    table = speed.table([timing], "a machine")
    assert table.rows == (("forward", "4000.0", "2000.0", "2.00", "2.00-3.00", "4.0 frames/s"),)
    assert "3 repetitions" in table.notes[0]
    assert table.notes[0].endswith("on a machine")
