"""Which PyTorch tensors each array of ours comes from, and how they are laid out there.

One table, read in both directions. A rule matches the dotted path of one of our modules and names the
modules of the reference that hold the same parameters: several where one module of ours does the work of
one per AU there. Backbones have the names of torchvision's residual networks and of the official Swin
release, behind the reference's prefix ``Backbone.``.
"""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Shaped

from mdhr_jax import facs
from mdhr_jax.models.swin import WINDOW, relative_position_index, shift_mask

BACKBONE = "Backbone."
"""What the reference puts before the names of a backbone."""

Tensor = Shaped[np.ndarray, "..."]
Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """How tensors of PyTorch make up one array of ours.

    Attributes:
        join: from PyTorch, in the order of their names, to ours.
        split: back again, given ours and the number of tensors.
    """

    join: Callable[[list[Tensor]], Tensor]
    split: Callable[[Tensor, int], list[Tensor]]


def _concatenated(to_ours: Callable[[Tensor], Tensor], to_torch: Callable[[Tensor], Tensor]) -> Layout:
    """Side by side along our last axis."""
    return Layout(
        join=lambda tensors: np.concatenate([to_ours(tensor) for tensor in tensors], axis=-1),
        split=lambda array, count: [to_torch(part) for part in np.split(array, count, axis=-1)],
    )


def _stacked(axis: int, to_ours: Callable[[Tensor], Tensor], to_torch: Callable[[Tensor], Tensor]) -> Layout:
    """Each with a place of its own on one of our axes."""
    return Layout(
        join=lambda tensors: np.stack([to_ours(tensor) for tensor in tensors], axis),
        split=lambda array, count: [to_torch(part) for part in np.moveaxis(array, axis, 0)],
    )


def _same(tensor: Tensor) -> Tensor:
    return tensor


_VECTOR = _concatenated(_same, _same)
_MATRIX = _concatenated(np.transpose, np.transpose)  # (out, in) there, (in, out) here
_CONVOLUTION = _concatenated(  # (out, in, height, width) there, (height, width, in, out) here
    lambda kernel: kernel.transpose(2, 3, 1, 0), lambda kernel: kernel.transpose(3, 2, 0, 1)
)
_HEAD_VECTOR = _concatenated(lambda vector: vector.reshape(-1), lambda vector: vector.reshape(1, 1, -1))
_DEPTHWISE = _stacked(1, lambda kernel: kernel[:, 0].T, lambda kernel: kernel.T[:, None])
_ROWS = _stacked(0, _same, _same)
_COUNT = Layout(join=lambda counts: counts[0], split=lambda count, copies: [count] * copies)

# Names of a module's tensors: ours, PyTorch's.
_LINEAR = {"kernel": ("weight", _MATRIX), "bias": ("bias", _VECTOR)}
_CONV = {"kernel": ("weight", _CONVOLUTION), "bias": ("bias", _VECTOR)}
_NORM = {
    "scale": ("weight", _VECTOR),
    "bias": ("bias", _VECTOR),
    "mean": ("running_mean", _VECTOR),
    "var": ("running_var", _VECTOR),
    "num_batches": ("num_batches_tracked", _COUNT),
}
_ATTENTION = {"bias_table": ("relative_position_bias_table", _VECTOR)}
_GRAPH = {
    "receiver_vector": ("scoring_fn_source", _HEAD_VECTOR),
    "sender_vector": ("scoring_fn_target", _HEAD_VECTOR),
    "bias": ("bias", _VECTOR),
}
_TEMPORAL = {"kernel": ("weight", _DEPTHWISE), "bias": ("bias", _ROWS)}
_CLASSIFIER = {"prototypes": ("sc", _VECTOR)}

_Leaves = Mapping[str, tuple[str, Layout]]
_Rule = tuple[str, Callable[..., str | list[str]], _Leaves]


@dataclasses.dataclass(frozen=True)
class Source:
    """Where one of our arrays comes from.

    Attributes:
        names: of PyTorch's tensors, in the order in which the layout takes them.
        layout: how they make up our array.
        counter: whether it counts batches, which PyTorch's older files do not have.
    """

    names: tuple[str, ...]
    layout: Layout
    counter: bool

    def torch_shape(self, shape: Shape) -> Shape:
        """Shape of each of PyTorch's tensors, given ours."""
        # An array of one repeated element: shapes are transformed as the data are, without their memory.
        return self.layout.split(np.broadcast_to(np.int8(0), shape), len(self.names))[0].shape


def sources(paths: list[str], au_set: facs.AUSet) -> dict[str, Source]:
    """PyTorch's names of our arrays.

    Args:
        paths: dotted paths of parameters and batch statistics of an `MDHR` or its backbone.
        au_set: the AUs and region groups of the model.

    Returns:
        Source of each path, in the same order.

    Raises:
        ValueError: the reference has nothing of the kind; all such paths are named.
    """
    rules = [(re.compile(pattern), name, leaves) for pattern, name, leaves in _rules(au_set)]
    found, unknown = {}, []
    for path in paths:
        module, _, leaf = path.rpartition(".")
        matches = [
            (name(*map(_number, match.groups())), leaves[leaf])
            for pattern, name, leaves in rules
            if (match := pattern.fullmatch(module)) and leaf in leaves
        ]
        if len(matches) != 1:
            unknown.append(path)
            continue
        ((modules, (torch_leaf, layout)),) = matches
        modules = [modules] if isinstance(modules, str) else modules
        names = tuple(f"{module}.{torch_leaf}" for module in modules)
        found[path] = Source(names, layout, counter=leaf == "num_batches")
    if unknown:
        raise ValueError(f"the PyTorch reference has no {', '.join(unknown)}")
    return found


def _number(text: str) -> int | str:
    return int(text) if text.isdigit() else text


def _rules(au_set: facs.AUSet) -> list[_Rule]:
    """(pattern of our module's path, name in the reference given the pattern's groups, its arrays)."""
    regions = au_set.regions

    def aus_of(region: int) -> list[str]:
        return [f"LRM.class_linears.{column}" for column in au_set.columns(regions[region])]

    def suffixed(suffix: str) -> Callable[[int], list[str]]:
        return lambda region: [f"{name}.{suffix}" for name in aus_of(region)]

    def blocks(pattern: str, name: Callable[..., str]) -> list[_Rule]:
        """A linear block: a linear layer and its normalisation."""
        return [
            (rf"{pattern}\.linear", lambda *groups: f"{name(*groups)}.fc", _LINEAR),
            (rf"{pattern}\.norm", lambda *groups: f"{name(*groups)}.bn", _NORM),
        ]

    stage_block = r"backbone\.stages\.(\d+)\.(\d+)"
    residual, swin = BACKBONE + "layer{}.{}", BACKBONE + "layers.{}.blocks.{}"
    return [
        # Residual networks.
        (r"backbone\.stem_conv", lambda: f"{BACKBONE}conv1", _CONV),
        (r"backbone\.stem_norm", lambda: f"{BACKBONE}bn1", _NORM),
        (
            rf"{stage_block}\.convs\.(\d+)",
            lambda s, b, i: f"{residual.format(s + 1, b)}.conv{i + 1}",
            _CONV,
        ),
        (rf"{stage_block}\.norms\.(\d+)", lambda s, b, i: f"{residual.format(s + 1, b)}.bn{i + 1}", _NORM),
        (rf"{stage_block}\.shortcut_conv", lambda s, b: f"{residual.format(s + 1, b)}.downsample.0", _CONV),
        (rf"{stage_block}\.shortcut_norm", lambda s, b: f"{residual.format(s + 1, b)}.downsample.1", _NORM),
        # Swin transformers.
        (r"backbone\.patch_embed", lambda: f"{BACKBONE}patch_embed.proj", _CONV),
        (r"backbone\.patch_norm", lambda: f"{BACKBONE}patch_embed.norm", _NORM),
        (rf"{stage_block}\.(norm[12])", lambda s, b, n: f"{swin.format(s, b)}.{n}", _NORM),
        (rf"{stage_block}\.attention", lambda s, b: f"{swin.format(s, b)}.attn", _ATTENTION),
        (rf"{stage_block}\.attention\.(qkv|proj)", lambda s, b, n: f"{swin.format(s, b)}.attn.{n}", _LINEAR),
        (rf"{stage_block}\.(fc[12])", lambda s, b, n: f"{swin.format(s, b)}.mlp.{n}", _LINEAR),
        (r"backbone\.mergings\.(\d+)\.norm", lambda s: f"{BACKBONE}layers.{s}.downsample.norm", _NORM),
        (
            r"backbone\.mergings\.(\d+)\.reduction",
            lambda s: f"{BACKBONE}layers.{s}.downsample.reduction",
            _LINEAR,
        ),
        (r"backbone\.norm", lambda: f"{BACKBONE}norm", _NORM),
        # Static branch and dynamics.
        *blocks("static", lambda: "global_linear"),
        (r"dynamics\.convs\.(\d+)", lambda i: f"MFD.conv{i + 1}", _CONV),
        (r"dynamics\.norms\.(\d+)", lambda i: f"MFD.bn{i + 1}", _NORM),
        (r"dynamics\.squeeze_convs\.(\d+)", lambda i: f"MFD.weight_{i + 1}", _CONV),
        (r"dynamics\.squeeze_norms\.(\d+)", lambda i: f"MFD.wbn{i + 1}", _NORM),
        (r"dynamics\.weight_conv", lambda: "MFD.weight", _CONV),
        (r"dynamics\.projection", lambda: "MFD.convcat", _CONV),
        (r"dynamics\.projection_norm", lambda: "MFD.bn", _NORM),
        # Local relationships: one extractor an AU there, one a region group here.
        *blocks(r"local\.region_blocks\.(\d+)", lambda i: f"LRM.{regions[i].name}_linear"),
        (r"local\.classifiers\.(\d+)", lambda i: f"LRM.{regions[i].name}_fc", _LINEAR),
        (r"local\.extractors\.(\d+)\.linear", suffixed("fc"), _LINEAR),
        (r"local\.extractors\.(\d+)\.norm", suffixed("bn"), _NORM),
        # Graph, temporal convolution, classifier.
        (r"graph", lambda: "CRM.gat", _GRAPH),
        (r"graph\.linear", lambda: "CRM.gat.linear", _LINEAR),
        (r"temporal", lambda: [f"TCN.temporal_cnn.{n}" for n in range(au_set.num_aus)], _TEMPORAL),
        (r"temporal\.norm", lambda: "TCN.bn", _NORM),
        (r"classifier", lambda: "node_classifier", _CLASSIFIER),
    ]


def constant_buffers(depths: tuple[int, ...], image_size: int, dtype: Any) -> dict[str, np.ndarray]:
    """Buffers that the reference keeps for a Swin backbone and that its architecture determines.

    Args:
        depths: blocks of each stage.
        image_size: edge of the input in pixels.
        dtype: of the attention masks.
    """
    buffers: dict[str, np.ndarray] = {}
    for stage, depth in enumerate(depths):
        edge = image_size // (4 * 2**stage)
        for block in range(depth):
            name = f"{BACKBONE}layers.{stage}.blocks.{block}"
            if block % 2 == 1 and edge > WINDOW:
                buffers[f"{name}.attn_mask"] = shift_mask(edge, edge).astype(dtype)
            buffers[f"{name}.attn.relative_position_index"] = relative_position_index().astype(np.int64)
    return buffers


def is_constant(name: str) -> bool:
    """Whether a tensor of PyTorch follows from the architecture and carries nothing learned."""
    return name.endswith((".relative_position_index", ".attn_mask"))
