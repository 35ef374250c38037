"""The reference in PyTorch: its stages, losses, gradients and training steps as NumPy arrays."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int8, Integer

from mdhr_jax import facs
from mdhr_jax.interop import measurements
from mdhr_jax.interop.comparison_inputs import Inputs
from mdhr_jax.interop.measurements import Decisions, Measurements
from mdhr_jax.interop.reference_checkout import Checkout, import_torch
from mdhr_jax.interop.torch_weights import Tensors
from mdhr_jax.training.losses import REGION_WEIGHT

WEIGHT_DECAY = 5e-4

_OBSERVED = (
    "Backbone",
    "global_linear",
    "MFD.pooling",
    "MFD.weight",
    "MFD",
    "LRM",
    "CRM",
    "TCN",
    "node_classifier",
)
"""Modules of the reference whose outputs are looked at."""

_NORMS = ("BatchNorm1d", "BatchNorm2d")


class TorchSide:
    """The reference's model of one data set and backbone.

    Args:
        checkout: where it comes from.
        backbone: a key of `reference_checkout.BACKBONES`.
        neighbors: k.
        dtype: ``float32`` or ``float64``.
        device: ``cpu`` or ``cuda``.

    Raises:
        ValueError: the checkout cannot build it, or it has other parts.
    """

    def __init__(self, checkout: Checkout, backbone: str, neighbors: int, dtype: str, device: str):
        self._torch: Any = import_torch()
        self.utils, self.device = checkout.utils, device
        self._dtype = getattr(self._torch, dtype)
        self.au_set = checkout.au_set
        self.net: Any = checkout.build(backbone, neighbors).to(device=device, dtype=self._dtype)
        present = {name for name, _ in self.net.named_modules()}
        if missing := [name for name in _OBSERVED if name not in present]:
            raise ValueError(f"the model of {checkout.path} has no part {', '.join(missing)} to compare")

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all tensors by name."""
        return {name: tuple(tensor.shape) for name, tensor in self.net.state_dict().items()}

    def load(self, values: Mapping[str, np.ndarray], *, strict: bool = False) -> None:
        """Takes weights; what they do not name stays, unless `strict`.

        Raises:
            RuntimeError: shapes differ or, where `strict`, names.
        """
        tensors = {name: self._torch.from_numpy(np.array(value)) for name, value in values.items()}
        self.net.load_state_dict(tensors, strict=strict)

    def values(self) -> Tensors:
        """All tensors by name."""
        return {name: _array(tensor) for name, tensor in self.net.state_dict().items()}

    def tensor(self, array: np.ndarray) -> Any:
        """An array on the device, in the model's number format where it is a floating one."""
        tensor = self._torch.from_numpy(np.ascontiguousarray(array))
        return tensor.to(self.device, self._dtype if tensor.is_floating_point() else None)

    def clips(self, clips: Float[np.ndarray, "B T H W 3"]) -> Any:
        """Clips as the reference takes them, channels before height and width."""
        return self.tensor(clips.transpose(0, 1, 4, 2, 3))

    def synchronize(self) -> None:
        """Waits until the device has done what it was told."""
        if self.device == "cuda":
            self._torch.cuda.synchronize()

    def forward(self, clips: Any) -> tuple[list[Any], Any]:
        """Region logits and scores (F, N)."""
        *logits, scores = self.net(clips)
        return logits, scores

    def predict(self, clips: Any) -> Float[np.ndarray, "F N"]:
        """Scores in evaluation mode."""
        self.net.eval()
        with self._torch.no_grad():
            return _array(self.forward(clips)[1])

    def estimate_statistics(self, clips: Float[np.ndarray, "B T H W 3"]) -> Tensors:
        """Running statistics that are those of some clips, by name; the model keeps them too."""
        norms = [module for module in self.net.modules() if type(module).__name__ in _NORMS]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # The mean of all batches seen, here one.
        self.net.train()
        with self._torch.no_grad():
            self.forward(self.clips(clips))
        for norm in norms:
            norm.momentum = 0.1
            norm.num_batches_tracked.zero_()
        return {name: value for name, value in self.values().items() if name.endswith(("_mean", "_var"))}

    def evaluate(self, inputs: Inputs, given: Int8[np.ndarray, "F N"] | None = None) -> Tensors:
        """Stages in evaluation mode.

        Args:
            inputs: with the clips.
            given: decisions that the graph takes in place of those of the region logits.
        """
        self.net.eval()
        with self._torch.no_grad(), self._recording(given) as stages:
            self.net(self.clips(inputs.clips))
        return stages

    def measure(
        self, inputs: Inputs, given: Decisions | None, steps: int, done: Callable[[str], None]
    ) -> Measurements:
        """Everything that is compared, from the weights loaded last; they are trained on afterwards.

        Args:
            inputs: clips and labels.
            given: decisions that the evaluation is repeated with and the training is done with.
            steps: optimiser steps of the training; 0 for the evaluation alone.
            done: called with a word after every part, of which there are `parts(given, steps)`.
        """
        clips = self.clips(inputs.clips)
        stages = self.evaluate(inputs)
        done("evaluation")
        stages_given = {}
        if given is not None:
            stages_given = self.evaluate(inputs, given.evaluation)
            done("evaluation, given decisions")
        rate, total = measurements.LEARNING_RATE, measurements.SCHEDULE_STEPS
        training = TorchTraining(self, inputs.au_weights, rate, total)
        seen, losses, gradients, buffers = [], [], {}, {}
        for step in range(steps):
            with self._recording(None if given is None else given.training[step]) as stage_values:
                losses.append([float(loss) for loss in training.step(clips, inputs.labels)])
            regions = [measurements.region_stage(region) for region in self.au_set.regions]
            seen.append({name: stage_values[name] for name in (*regions, measurements.SCORES)})
            if step == 0:
                gradients = {
                    name: _array(parameter.grad)
                    for name, parameter in self.net.named_parameters()
                    if parameter.grad is not None
                }
                buffers = {
                    name: value
                    for name, value in self.values().items()
                    if name.endswith(("running_mean", "running_var", "num_batches_tracked"))
                }
            done(f"step {step + 1}")
        return Measurements(
            stages,
            stages_given,
            tuple(seen),
            np.reshape(losses, (-1, len(measurements.LOSSES))),
            gradients,
            buffers,
        )

    def _recording(self, given: Int8[np.ndarray, "F N"] | None) -> "_Recording":
        return _Recording(self, given)


def parts(given: Decisions | None, steps: int) -> int:
    """Parts that a side's measurement has."""
    return steps + (1 if given is None else 2)


class TorchTraining:
    """Trains the reference's model with its own loss, schedule and optimiser.

    Args:
        side: the model.
        au_weights: of the loss.
        learning_rate: the first one.
        total_steps: of the schedule.
    """

    def __init__(
        self, side: TorchSide, au_weights: Float[np.ndarray, " N"], learning_rate: float, total_steps: int
    ):
        torch: Any = import_torch()
        self._side, self._utils = side, side.utils
        self._learning_rate, self._total_steps, self._steps = learning_rate, total_steps, 0
        # In float64, as the reference reads them.
        weights = torch.from_numpy(np.array(au_weights, np.float64)).to(side.device)
        self._au_loss = self._utils.WeightedAsymmetricLoss(weight=weights)
        self._region_loss = torch.nn.CrossEntropyLoss()
        self._optimizer = torch.optim.AdamW(
            side.net.parameters(), betas=(0.9, 0.999), lr=learning_rate, weight_decay=WEIGHT_DECAY
        )

    def step(self, clips: Any, labels: Integer[np.ndarray, "B T N"]) -> tuple[Any, Any, Any]:
        """One step; returns total, AU and region loss before it, not waited for.

        Args:
            clips: as `TorchSide.clips` gives them.
            labels: 0 or 1.
        """
        side, au_set = self._side, self._side.au_set
        side.net.train()
        self._utils.adjust_learning_rate(
            self._optimizer, 0, 1, self._learning_rate, self._steps, self._total_steps, 0
        )
        codes = side.tensor(facs.encode_regions(au_set, labels).reshape(-1, len(au_set.regions))).long()
        targets = side.tensor(labels.reshape(-1, au_set.num_aus).astype(np.float64))
        self._optimizer.zero_grad()
        logits, scores = side.forward(clips)
        terms = [self._region_loss(x, codes[:, i]) for i, x in enumerate(logits)]
        region: Any = sum(terms) / len(terms)
        au = self._au_loss(scores, targets)
        total = REGION_WEIGHT * region + au
        total.backward()
        self._optimizer.step()
        self._steps += 1
        return total.detach(), au.detach(), region.detach()


class _Recording:
    """Collects the stages of the forward passes of the reference's model while it is entered.

    Args:
        side: the model.
        given: decisions that replace the model's own.
    """

    def __init__(self, side: TorchSide, given: Int8[np.ndarray, "F N"] | None):
        self._side, self._given = side, given
        self._hooks: list[Any] = []
        self._stages: Tensors = {}
        self._pooled = 0

    def __enter__(self) -> Tensors:
        net, keep = self._side.net, self._keep
        after = {
            net.Backbone: self._backbone,
            net.global_linear: lambda _, __, out: keep("static branch", out),
            net.MFD.pooling: self._pooling,
            net.MFD.weight: lambda _, __, out: keep("MFD weight logits", _rows(out)),
            net.MFD: lambda _, __, out: keep("MFD output", out),
            net.LRM: self._local,
            net.CRM: lambda _, __, out: keep(measurements.GRAPH, out),
            net.TCN: lambda _, __, out: keep(measurements.TEMPORAL, out),
            net.node_classifier: lambda _, __, out: keep(measurements.SCORES, out),
        }
        self._hooks = [module.register_forward_hook(hook) for module, hook in after.items()]
        self._hooks.append(net.CRM.register_forward_pre_hook(self._decide))
        return self._stages

    def __exit__(self, *_: Any) -> None:
        for hook in self._hooks:
            hook.remove()

    def _keep(self, name: str, tensor: Any) -> None:
        self._stages[name] = _array(tensor)

    def _backbone(self, _: Any, __: Any, out: Any) -> None:
        final, scales = out
        for i, scale in enumerate(scales, 1):
            self._keep(f"backbone scale {i}", _rows(scale))
        self._keep("backbone final map", final)

    def _pooling(self, _: Any, __: Any, out: Any) -> None:
        # The same module is called for one scale after the other; (B, C, T, h, w) to (B*T, h*w, C).
        self._pooled += 1
        frames, channels = out.shape[0] * out.shape[2], out.shape[1]
        self._keep(
            f"MFD scale {self._pooled}, pooled", out.permute(0, 2, 3, 4, 1).reshape(frames, -1, channels)
        )

    def _local(self, _: Any, arguments: Any, out: Any) -> None:
        self._keep("G", arguments[0])
        *logits, vectors = out
        for region, x in zip(self._side.au_set.regions, logits, strict=True):
            self._keep(measurements.region_stage(region), x)
        self._keep("AU vectors", vectors)

    def _decide(self, _: Any, arguments: Any) -> Any:
        vectors, active = arguments
        self._keep(measurements.ACTIVATIONS, active[:, 0])
        if self._given is None:
            return None
        given = self._side.tensor(self._given)[:, None]
        return vectors, self._side._torch.where(given < 0, active, given.to(active.dtype))


def _rows(tensor: Any) -> Any:
    """A map (F, C, h, w) as (F, h*w, C); rows already are."""
    return tensor.flatten(2).transpose(1, 2) if tensor.ndim == 4 else tensor


def _array(tensor: Any) -> np.ndarray:
    """A copy: later layers of the reference overwrite what they are given."""
    return np.array(tensor.detach().cpu().numpy())
