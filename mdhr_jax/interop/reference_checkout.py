"""Imports a checkout of the PyTorch reference and builds its models, without changing the checkout.

The reference wants a CUDA device (it calls ``.cuda()``), files of ImageNet weights in the working
directory, torchvision and timm. None of them is needed here: its models are built without pretrained
weights, ``.cuda()`` can be made to do nothing, and what is not installed is stood in for while the checkout
is imported. PyTorch is imported here only, when the comparison runs.
"""

import contextlib
import dataclasses
import functools
import importlib
import inspect
import sys
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mdhr_jax import facs
from mdhr_jax.interop import files

BACKBONES = {"resnet50": "resnet", "swin_base": "swin_transformer"}
"""Our names of the reference's backbones, and its own."""

_MODEL_MODULES = {"bp4d": "model_BP4D", "disfa": "model_DISFA"}
_NEEDED = ("model/{module}.py", "model/resnet.py", "model/swin_transformer.py", "utils/utils.py")
# The checkout's folders have names that others have too; under this one nothing can be mistaken for them.
_PACKAGE = "_mdhr_reference"


def import_torch() -> Any:
    """PyTorch.

    Raises:
        ImportError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module("torch")
    except ImportError as error:
        raise ImportError(
            f"the comparison runs the PyTorch reference, and PyTorch is not installed; {files.EXTRA}"
        ) from error


@dataclasses.dataclass(frozen=True)
class Checkout:
    """What the comparison takes from a checkout.

    Attributes:
        path: of the checkout.
        au_set: the AUs of its model.
        models: its module with the model of the data set.
        utils: its module with loss and learning rate.
    """

    path: Path
    au_set: facs.AUSet
    models: Any
    utils: Any

    def build(self, backbone: str, neighbors: int) -> Any:
        """The reference's model with its own random initial weights, on the CPU, stochastic depth off.

        Args:
            backbone: a key of `BACKBONES`.
            neighbors: k.

        Raises:
            ValueError: the checkout cannot build it.
        """
        try:
            with without_pretrained(self.models), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # What the reference should write otherwise is not ours.
                net = self.models.MDHR(
                    dataset=self.au_set.title,
                    num_classes=self.au_set.num_aus,
                    backbone=BACKBONES[backbone],
                    k=neighbors,
                )
        except (AttributeError, TypeError, RuntimeError, OSError) as error:
            raise ValueError(
                f"the checkout {self.path} cannot build its {backbone} model: {error}"
            ) from error
        for module in net.modules():
            if hasattr(module, "drop_prob"):
                module.drop_prob = 0.0
        return net


def open_checkout(path: Path, au_set: facs.AUSet) -> Checkout:
    """Imports the parts of a checkout that are compared.

    Args:
        path: of the checkout.
        au_set: BP4D or DISFA.

    Raises:
        FileNotFoundError: it is no checkout of the reference.
        ValueError: it cannot be imported, or the reference has no model for the AUs.
        ImportError: PyTorch is not installed.
    """
    if au_set.name not in _MODEL_MODULES:
        raise ValueError(
            f"the reference has no model for {au_set.title}, only for {', '.join(_MODEL_MODULES)}"
        )
    module = _MODEL_MODULES[au_set.name]
    missing = [name for name in (n.format(module=module) for n in _NEEDED) if not (path / name).is_file()]
    if missing:
        found = f"it lacks {', '.join(missing)}" if path.is_dir() else "there is no such folder"
        raise FileNotFoundError(
            f"{path} is no checkout of the reference: {found}; give the folder of a clone of CVI-SZU/MDHR"
        )
    torch = import_torch()
    try:
        with _importable(path, torch):
            models = importlib.import_module(f"{_PACKAGE}.model.{module}")
            utils = importlib.import_module(f"{_PACKAGE}.utils.utils")
    except (ImportError, SyntaxError, AttributeError, NameError) as error:
        raise ValueError(f"the checkout {path} cannot be imported: {error}") from error
    for module, names in ((models, ("MDHR",)), (utils, ("WeightedAsymmetricLoss", "adjust_learning_rate"))):
        if lacking := [name for name in names if not hasattr(module, name)]:
            raise ValueError(f"the checkout {path} has no {', '.join(lacking)} in {module.__name__}")
    return Checkout(path, au_set, models, utils)


@contextlib.contextmanager
def _importable(path: Path, torch: Any) -> Iterator[None]:
    """The checkout as a package, what it imports in place, and no byte code written into it."""
    package = types.ModuleType(_PACKAGE)
    package.__path__ = [str(path)]
    stand_ins = {name: module for name, module in _stand_ins(torch).items() if not _installed(name)}
    before, writes = dict(sys.modules), sys.dont_write_bytecode
    sys.modules.update(stand_ins)
    sys.modules[_PACKAGE] = package
    sys.dont_write_bytecode = True
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes
        for name in list(sys.modules):
            if name in stand_ins or name.partition(".")[0] == _PACKAGE:
                del sys.modules[name]
        sys.modules.update({name: before[name] for name in stand_ins if name in before})


def _installed(name: str) -> bool:
    """Whether the library that a module belongs to can really be imported."""
    library = name.partition(".")[0]
    try:
        importlib.import_module(library)
        importlib.import_module(name)
    except Exception:  # A torchvision of another PyTorch fails in ways of its own.
        return False
    return True


def _stand_ins(torch: Any) -> dict[str, types.ModuleType]:
    """Modules with what the reference imports and the comparison runs, by name.

    Its image transformations are imported with the loss, but not run.
    """

    class DropPath(torch.nn.Module):
        """Stochastic depth that is off."""

        def __init__(self, drop_prob: float = 0.0):
            super().__init__()
            self.drop_prob = drop_prob

        def forward(self, x: Any) -> Any:
            return x

    def to_2tuple(value: Any) -> Any:
        return tuple(value) if isinstance(value, tuple | list) else (value, value)

    contents: dict[str, dict[str, Any]] = {
        "torchvision": {},
        "torchvision.models": {},
        "torchvision.transforms": {},
        "torchvision.transforms.functional": {},
        "timm": {},
        "timm.models": {},
        "timm.models.layers": {
            "DropPath": DropPath,
            "to_2tuple": to_2tuple,
            "trunc_normal_": torch.nn.init.trunc_normal_,
        },
        "tqdm": {"tqdm": lambda iterable: iterable},
    }
    modules = {name: types.ModuleType(name) for name in contents}
    for name, module in modules.items():
        vars(module).update(contents[name], __path__=[])
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    return modules


@contextlib.contextmanager
def without_pretrained(module: Any) -> Iterator[None]:
    """Makes functions of a module that take ``pretrained`` be called with False, whatever they are given."""

    def untrained(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def build(*args: Any, **kwargs: Any) -> Any:
            bound = inspect.signature(function).bind(*args, **kwargs)
            bound.arguments["pretrained"] = False
            return function(*bound.args, **bound.kwargs)

        return build

    with contextlib.ExitStack() as stack:
        for name, value in list(vars(module).items()):
            if inspect.isfunction(value) and "pretrained" in inspect.signature(value).parameters:
                stack.enter_context(_replaced(module, name, untrained(value)))
        yield


@contextlib.contextmanager
def cuda_stays_on_cpu() -> Iterator[None]:
    """Makes ``.cuda()`` of tensors and modules return them unchanged."""
    torch = import_torch()

    def unchanged(self: Any, *_: Any, **__: Any) -> Any:
        return self

    with _replaced(torch.Tensor, "cuda", unchanged), _replaced(torch.nn.Module, "cuda", unchanged):
        yield


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Another attribute for a while; one that was inherited is inherited again afterwards."""
    own = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)
