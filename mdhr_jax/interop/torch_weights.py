"""Weights of the PyTorch reference as weights of ours, and back, without importing PyTorch."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from mdhr_jax import facs
from mdhr_jax.interop import names
from mdhr_jax.models.functional import FunctionalModel, flatten, unflatten
from mdhr_jax.models.mdhr import BACKBONES, MDHR, MDHRConfig
from mdhr_jax.models.swin import SwinConfig

IMAGE_SIZE = 224
"""Edge of the reference's input in pixels; sizes its attention masks."""

_REFERENCE_BACKBONES = {"resnet": "resnet50", "swin_transformer": "swin_base"}
_STATE_DICT_KEYS = ("state_dict", "model")
_PARALLEL_PREFIX = "module."
_MAX_LISTED = 12

Tensors = dict[str, np.ndarray]
Arrays = Mapping[str, Any]


class WeightsError(ValueError):
    """A set of weights cannot be used; the message lists everything that is wrong with it.

    Attributes:
        problems: how many names are missing, unexpected or of other shapes.
    """

    def __init__(self, message: str, problems: int = 0):
        super().__init__(message)
        self.problems = problems


def reference_config(
    dataset: str, backbone: str, num_neighbors: int = 5, dtype: Any = "float32"
) -> MDHRConfig:
    """The model that the reference builds.

    Args:
        dataset: of the AU table, such as ``bp4d``; case does not matter.
        backbone: ``resnet50``, ``swin_base`` or the reference's words for them, ``resnet`` and
            ``swin_transformer``.
        num_neighbors: k, frames that the dynamics look at on either side.
        dtype: ``float32``, ``float64`` or ``bfloat16`` (of the arithmetic; parameters stay float32 then).

    Raises:
        ValueError: something does not exist; float64 without JAX_ENABLE_X64.
    """
    name = jnp.dtype(dtype).name
    return MDHRConfig(
        facs.get(dataset),
        backbone=_REFERENCE_BACKBONES.get(backbone.lower(), backbone),
        neighbors=num_neighbors,
        dtype=name,
        param_dtype="float64" if name == "float64" else "float32",
    )


def from_torch(
    state_dict: Mapping[str, Any],
    *,
    dataset: str,
    backbone: str,
    num_neighbors: int = 5,
    dtype: Any = "float32",
) -> MDHR:
    """The reference's model with the reference's weights, in evaluation mode.

    ``model(clips)`` takes normalised clips (B, T, 224, 224, 3) and returns scores (B, T, N) and the logits
    of each region group (B*T, combinations), in the order of the AU table.

    Args:
        state_dict: PyTorch's names to tensors or NumPy arrays. The names may begin with ``module.`` (as
            DataParallel saves them), and the mapping may lie inside a checkpoint under ``state_dict``.
        dataset, backbone, num_neighbors, dtype: see `reference_config`.

    Raises:
        WeightsError: names are missing, unexpected or of other shapes; all are listed. Counters of batches
            and buffers that the architecture determines may be missing.
    """
    config = reference_config(dataset, backbone, num_neighbors, dtype)
    model = FunctionalModel.create(config)
    expected = model.param_shapes | model.stat_shapes
    arrays = arrays_from_torch(state_dict, expected, config.au_set)
    placed = {path: jnp.asarray(arrays[path], spec.dtype) for path, spec in expected.items()}
    return nnx.merge(
        model.eval_graph,
        unflatten({path: placed[path] for path in model.param_shapes}),
        unflatten({path: placed[path] for path in model.stat_shapes}),
    )


def to_torch(model: MDHR) -> Tensors:
    """The inverse of `from_torch`: all tensors of the reference's ``state_dict``, as NumPy arrays.

    Raises:
        ValueError: the reference has no such model.
    """
    check_reference(model.config)
    _, params, batch_stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    return tensors_from_arrays(flatten(params) | flatten(batch_stats), model.config)


def check_reference(config: MDHRConfig) -> None:
    """Refuses a model that the reference cannot build.

    Raises:
        ValueError: naming the fields.
    """
    free = {"au_set", "backbone", "neighbors", "dense_graph", "batch_norm_groups", "drop_path"}
    free |= {"remat", "remat_stages", "dtype", "param_dtype"}
    reference = MDHRConfig(config.au_set)
    differing = [
        f"{field.name}={getattr(config, field.name)!r} (there: {getattr(reference, field.name)!r})"
        for field in dataclasses.fields(config)
        if field.name not in free and getattr(config, field.name) != getattr(reference, field.name)
    ]
    if differing:
        raise ValueError(f"the PyTorch reference has no model with {', '.join(differing)}")


def plain_names(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """The names to tensors in a checkpoint, without what wraps them.

    Raises:
        WeightsError: there are none.
    """
    for key in _STATE_DICT_KEYS:
        if isinstance(state_dict.get(key), Mapping):
            state_dict = state_dict[key]
    tensors = {str(name): value for name, value in state_dict.items() if hasattr(value, "shape")}
    if not tensors:
        raise WeightsError(
            f"no tensors by name: the file holds {', '.join(map(str, list(state_dict)[:5])) or 'nothing'}; "
            "expected a PyTorch state_dict, or a checkpoint with one under 'state_dict'"
        )
    if all(name.startswith(_PARALLEL_PREFIX) for name in tensors):
        tensors = {name.removeprefix(_PARALLEL_PREFIX): tensor for name, tensor in tensors.items()}
    return tensors


def arrays_from_torch(state_dict: Mapping[str, Any], expected: Arrays, au_set: facs.AUSet) -> Tensors:
    """Arrays of ours from tensors of PyTorch's.

    Args:
        state_dict: see `from_torch`.
        expected: what our model has, by dotted path; only shapes and types are looked at.
        au_set: the AUs of the model.

    Returns:
        An array for each path, in PyTorch's number format.

    Raises:
        WeightsError: see `from_torch`.
    """
    tensors = plain_names(state_dict)
    found: Tensors = {}
    missing, misshapen, wanted = [], [], set[str]()
    for path, source in names.sources(list(expected), au_set).items():
        shape = source.torch_shape(expected[path].shape)
        wanted.update(source.names)
        absent = [name for name in source.names if name not in tensors]
        if absent and not source.counter:
            missing += absent
            continue
        given = {name: tensors[name] for name in source.names if name in tensors}
        wrong = [name for name, tensor in given.items() if tuple(tensor.shape) != shape]
        misshapen += [f"{name}: found {tuple(given[name].shape)}, expected {shape}" for name in wrong]
        if not wrong:
            parts = [as_numpy(given.get(name, np.zeros((), np.int64))) for name in source.names]
            found[path] = source.layout.join(parts)
            if source.counter and len({int(part) for part in parts}) > 1:
                misshapen.append(f"{', '.join(source.names)}: counts differ, expected one of all")
    unexpected = [name for name in tensors if name not in wanted and not names.is_constant(name)]
    if missing or unexpected or misshapen:
        problems = len(missing) + len(unexpected) + len(misshapen)
        raise WeightsError(_complaint(missing, unexpected, misshapen), problems)
    return found


def tensors_from_arrays(arrays: Arrays, config: MDHRConfig) -> Tensors:
    """Tensors of PyTorch's from arrays of ours, with the buffers that the architecture determines.

    Args:
        arrays: by dotted path.
        config: of the model that they belong to.
    """
    tensors: Tensors = {}
    for path, source in names.sources(list(arrays), config.au_set).items():
        array = np.asarray(arrays[path])
        array = array.astype(np.int64) if source.counter else array
        for name, tensor in zip(source.names, source.layout.split(array, len(source.names)), strict=True):
            tensors[name] = np.ascontiguousarray(tensor).reshape(tensor.shape)
    size = BACKBONES[config.backbone]
    if isinstance(size, SwinConfig):
        tensors |= names.constant_buffers(size.depths, IMAGE_SIZE, config.param_dtype)
    return tensors


def as_numpy(tensor: Any) -> np.ndarray:
    """A tensor of PyTorch's, or anything like an array, as a NumPy array."""
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        if getattr(tensor, "is_sparse", False):
            tensor = tensor.to_dense()
        if str(tensor.dtype) == "torch.bfloat16":  # NumPy has none.
            tensor = tensor.float()
        return tensor.numpy()
    return np.asarray(tensor)


def _complaint(missing: list[str], unexpected: list[str], misshapen: list[str]) -> str:
    lines = []
    for title, entries in (("missing", missing), ("unexpected", unexpected), ("wrong shape", misshapen)):
        if entries:
            lines.append(f"  {title} ({len(entries)}):")
            lines += [f"    {entry}" for entry in entries[:_MAX_LISTED]]
            if len(entries) > _MAX_LISTED:
                lines.append(f"    and {len(entries) - _MAX_LISTED} more")
    return (
        "the weights are not those of this model:\n"
        + "\n".join(lines)
        + "\nName the data set and backbone that they were trained with."
    )
