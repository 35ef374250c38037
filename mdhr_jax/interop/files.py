"""Files of tensors by name: PyTorch's ``.pth`` and ``.safetensors``.

PyTorch and safetensors are imported here only, when a file of theirs is read or written.
"""

import os
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mdhr_jax.interop.torch_weights import Tensors, WeightsError, as_numpy, plain_names

SAFETENSORS = ".safetensors"
_INFO = "mdhr_jax"
EXTRA = "it comes with: pip install -e '.[torch]' in a clone of this project"
"""How what is imported here gets installed."""


def read_tensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    """Reads a file of either kind.

    Nothing but tensors and plain containers is unpickled, so that no code in a file can run.

    Returns:
        Tensors by name, and what `write_tensors` noted about them (nothing in files of others).

    Raises:
        FileNotFoundError: there is no such file.
        WeightsError: it is damaged, holds other objects than tensors, or no tensors.
        ImportError: the library for the file is not installed.
    """
    if path.is_dir():
        raise IsADirectoryError(
            f"{path} is a directory; expected a .pth or .safetensors file, which python -m mdhr_jax.convert "
            "makes of a checkpoint of this project"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist")
    if path.suffix == SAFETENSORS:
        return _read_safetensors(path)
    return _read_torch(path)


def _read_safetensors(path: Path) -> tuple[Tensors, dict[str, str]]:
    try:
        from safetensors import SafetensorError, safe_open  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f"reading {path} needs safetensors; {EXTRA}") from error
    try:
        with safe_open(path, framework="np") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path} is not a readable safetensors file: {error}") from error


def _read_torch(path: Path) -> tuple[Tensors, dict[str, str]]:
    torch = _import_torch(path)
    path.open("rb").close()  # A file that may not be read is not a damaged one.
    try:
        if zipfile.is_zipfile(path):
            _check_sums(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} is not a PyTorch file, or holds Python objects besides tensors, which could run code "
            "when they are read; it was not read. Of a file you trust, save the state_dict alone"
        ) from error
    except Exception as error:  # Whatever a parser trips over in bytes that mean nothing.
        raise WeightsError(
            f"{path} is damaged or not a PyTorch file ({_first_line(error)}); copy or download it again"
        ) from error
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path} holds a {type(content).__name__}; expected tensors by name")
    info = content.get(_INFO, {})
    return {name: as_numpy(tensor) for name, tensor in plain_names(content).items()}, dict(info)


def _check_sums(path: Path) -> None:
    """PyTorch does not look at the check sums of its files.

    Raises:
        ValueError: one is wrong.
    """
    with zipfile.ZipFile(path) as archive:
        if (wrong := archive.testzip()) is not None:
            raise ValueError(f"the check sum of {wrong} is wrong")


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray], info: Mapping[str, str]) -> None:
    """Writes a file, whole or not at all; its suffix says of which kind.

    A ``.pth`` file holds the tensors under ``state_dict``, where the reference looks for them.

    Args:
        path: ends in ``.safetensors`` or in anything else for PyTorch.
        tensors: by name.
        info: short texts kept beside them.

    Raises:
        OSError: the file cannot be written.
        ImportError: the library for the file is not installed.
    """
    if path.suffix == SAFETENSORS:
        try:
            from safetensors.numpy import save  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError(f"writing {path} needs safetensors; {EXTRA}") from error
        with _replacing(path) as temporary:
            temporary.write_bytes(save(dict(tensors), metadata={"format": "pt", **info}))
        return
    torch = _import_torch(path)
    content = {name: torch.from_numpy(np.array(tensor)) for name, tensor in tensors.items()}
    with _replacing(path) as temporary:
        torch.save({"state_dict": content, _INFO: dict(info)}, temporary)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside the path, which takes its place when all is written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _import_torch(path: Path) -> Any:
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f"{path} needs PyTorch; {EXTRA}") from error
    return torch


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
