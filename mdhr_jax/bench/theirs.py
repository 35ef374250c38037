"""The PyTorch reference in the forms in which it is timed: as released, and in faster ones; see `forms`."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from mdhr_jax import facs
from mdhr_jax.bench.forms import NEIGHBORS
from mdhr_jax.bench.memory import resident_peak
from mdhr_jax.bench.timing import Runner
from mdhr_jax.interop.comparison_inputs import Inputs, parameter_values, rounded
from mdhr_jax.interop.reference_checkout import Checkout, import_torch
from mdhr_jax.interop.torch_side import WEIGHT_DECAY
from mdhr_jax.training.losses import REGION_WEIGHT

_LEARNING_RATE = 1e-4


class Theirs:
    """The reference's model in one form.

    Args:
        checkout: where it comes from.
        backbone: a key of `reference_checkout.BACKBONES`.
        form: one of `forms.NAMES`.
        device: ``cpu`` or ``cuda``.

    Raises:
        ValueError: the checkout cannot build it.
    """

    def __init__(self, checkout: Checkout, backbone: str, form: str, device: str):
        self._torch: Any = import_torch()
        self._checkout, self._device = checkout, device
        self._autocast = "amp" in form
        self._free = form != "released"
        self._compiled = "compile" in form
        self.net: Any = checkout.build(backbone, NEIGHBORS).to(device)
        if self._free:
            self.net = self.net.to(memory_format=self._torch.channels_last)

    def make_up(self) -> None:
        """Takes weights that are made from their names alone, as `ours.made_up` does."""
        for name, tensor in self.net.state_dict().items():
            # One at a time: all of them, in float64, would be the process's peak of memory.
            for value in rounded(parameter_values({name: tuple(tensor.shape)})).values():
                tensor.copy_(self._torch.from_numpy(np.array(value)))

    def forward(self, inputs: Inputs) -> Runner:
        """The forward pass in evaluation mode."""
        torch, clips, call = self._torch, self._clips(inputs), self._callable()

        def run() -> None:
            self.net.eval()
            with self._settings(), torch.no_grad(), self._cast():
                call(clips)

        return Runner(run, self._wait)

    def training(self, inputs: Inputs) -> Runner:
        """Forward and backward pass, running statistics and AdamW; the weights are trained on."""
        torch, au_set = self._torch, self._checkout.au_set
        clips, call = self._clips(inputs), self._callable()
        weights = torch.from_numpy(np.array(inputs.au_weights, np.float64)).to(self._device)
        au_loss = self._checkout.utils.WeightedAsymmetricLoss(weight=weights)
        region_loss = torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.AdamW(self.net.parameters(), lr=_LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        labels = inputs.labels
        codes = facs.encode_regions(au_set, labels).reshape(-1, len(au_set.regions))
        codes = torch.from_numpy(np.ascontiguousarray(codes)).long().to(self._device)
        targets = torch.from_numpy(labels.reshape(-1, au_set.num_aus).astype(np.float32)).to(self._device)

        def run() -> None:
            self.net.train()
            with self._settings():
                optimizer.zero_grad()
                with self._cast():
                    *logits, scores = call(clips)
                terms: Any = [region_loss(x.float(), codes[:, i]) for i, x in enumerate(logits)]
                total = REGION_WEIGHT * sum(terms) / len(terms) + au_loss(scores.float(), targets)
                total.backward()
                optimizer.step()

        return Runner(run, self._wait)

    def peak_bytes(self) -> int:
        """Most memory so far: of the device's tensors, cuDNN's trials included; on CPUs of the process."""
        if self._device == "cuda":
            return int(self._torch.cuda.max_memory_allocated())
        return resident_peak()

    def _clips(self, inputs: Inputs) -> Any:
        clips = np.ascontiguousarray(inputs.clips.transpose(0, 1, 4, 2, 3), np.float32)
        return self._torch.from_numpy(clips).to(self._device)

    def _callable(self) -> Any:
        return self._torch.compile(self.net) if self._compiled else self.net

    def _cast(self) -> contextlib.AbstractContextManager[Any]:
        if not self._autocast:
            return contextlib.nullcontext()
        return self._torch.autocast(self._device, dtype=self._torch.bfloat16)

    @contextlib.contextmanager
    def _settings(self) -> Iterator[None]:
        """TF32 and cuDNN's choice by trial as the form has them; they are the whole process's."""
        products, cudnn = self._torch.backends.cuda.matmul, self._torch.backends.cudnn
        before = products.allow_tf32, cudnn.benchmark
        products.allow_tf32, cudnn.benchmark = (flag or self._free for flag in before)
        try:
            yield
        finally:
            products.allow_tf32, cudnn.benchmark = before

    def _wait(self) -> None:
        if self._device == "cuda":
            self._torch.cuda.synchronize()
