"""Our model as compiled programs: the training step, the forward pass, and the step on streams of frames.

Clips are normalised and lie on the device, as the reference's do in its own measurement. Stochastic depth is
off on both sides. Programs are compiled ahead, so that compiling is timed by itself, and so are what the
compiler counts: arithmetic, bytes, memory.
"""

import dataclasses
import importlib.util
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from mdhr_jax import freed_memory
from mdhr_jax.bench.timing import Runner
from mdhr_jax.interop.comparison_inputs import Inputs, parameter_values, rounded
from mdhr_jax.interop.torch_weights import Tensors, arrays_from_torch, tensors_from_arrays
from mdhr_jax.models.functional import Arrays, FunctionalModel
from mdhr_jax.models.mdhr import MDHRConfig
from mdhr_jax.models.streaming import StreamingModel
from mdhr_jax.training import losses
from mdhr_jax.training.optimizer import make_optimizer

LEARNING_RATE = 1e-4
_STEPS = 10_000


def has_jraph() -> bool:
    """Whether the graph can run on jraph here; otherwise it is computed densely, which is the same."""
    return importlib.util.find_spec("jraph") is not None


def make_config(au_set: Any, backbone: str, precision: str, *, dense: bool) -> MDHRConfig:
    """The model that is measured: the reference's, in a number format.

    Args:
        au_set: the AUs.
        backbone: a key of `BACKBONES`.
        precision: ``float32`` or ``bfloat16``.
        dense: computes the graph without jraph.
    """
    return MDHRConfig(au_set, backbone=backbone, dtype=precision, dense_graph=dense)


def made_up(model: FunctionalModel) -> Tensors:
    """Weights by PyTorch's names, made from the names alone; running statistics are 0 and 1.

    Reference specification, section 11.

    Raises:
        ValueError: the reference has no such model.
    """
    expected = model.param_shapes | model.stat_shapes
    shapes = {path: np.zeros(spec.shape, spec.dtype) for path, spec in expected.items()}
    named = tensors_from_arrays(shapes, model.config)
    values: Tensors = {}
    for name, value in named.items():
        # One at a time: they are made in float64, which is no part of the measurement's memory.
        found = rounded(parameter_values({name: value.shape}))
        values[name] = found.get(name, np.ones_like(value) if name.endswith("running_var") else value)
    return values


@dataclasses.dataclass(frozen=True)
class Compiled:
    """A program ready to run, and what compiling it took and told.

    Attributes:
        call: the program.
        compile_seconds: tracing and compiling with nothing kept from before.
        again_seconds: the same with what the first kept on disk; None where it was not asked for.
        flops: arithmetic of a run, a multiplication and an addition counting as two, before optimisation.
        bytes_accessed: what the optimised program reads and writes, as XLA counts it; None where it does not.
        planned_bytes: memory for arguments, results and intermediate values.
    """

    call: Callable[..., Any]
    compile_seconds: float
    again_seconds: float | None
    flops: float
    bytes_accessed: float | None
    planned_bytes: int | None


def compile_program(function: Any, *arguments: Any, again: bool = True) -> Compiled:
    """Compiles a jitted function for its arguments, twice where `again`, and once more not from disk.

    The cache on disk that is in use otherwise is left alone.

    Args:
        function: what `jax.jit` returned.
        *arguments: arrays or shapes.
        again: whether it is also timed with the cache.
    """
    folder = tempfile.mkdtemp(prefix="mdhr-bench-")
    settings = {
        "jax_enable_compilation_cache": again,
        "jax_compilation_cache_dir": folder,
        "jax_persistent_cache_min_compile_time_secs": 0.0,
        "jax_persistent_cache_min_entry_size_bytes": -1,
    }
    before = {name: getattr(jax.config, name) for name in settings}
    try:
        _configure(settings)
        lowered, compiled, seconds = _compile(function, arguments)
        again_seconds = None
        if again:
            jax.clear_caches()
            compiled, again_seconds = _compile(function, arguments)[1:]
    finally:
        _configure(before)
        shutil.rmtree(folder, ignore_errors=True)
    counted = _analysis(lowered.cost_analysis())
    optimised = _analysis(compiled.cost_analysis())
    return Compiled(
        call=compiled,
        compile_seconds=seconds,
        again_seconds=again_seconds,
        flops=float(counted.get("flops", 0.0)),
        bytes_accessed=optimised.get("bytes accessed"),
        planned_bytes=_planned(compiled),
    )


def _configure(settings: Mapping[str, Any]) -> None:
    from jax.experimental.compilation_cache import compilation_cache

    for name, value in settings.items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()


def _compile(function: Any, arguments: tuple[Any, ...]) -> tuple[Any, Any, float]:
    start = time.perf_counter()
    lowered = function.lower(*arguments)
    compiled = lowered.compile()
    return lowered, compiled, time.perf_counter() - start


def _analysis(found: Any) -> dict[str, float]:
    found = found[0] if isinstance(found, list) else found
    return found or {}


def _planned(compiled: Any) -> int | None:
    sizes = compiled.memory_analysis()
    if sizes is None:
        return None
    parts = ("argument_size_in_bytes", "output_size_in_bytes", "temp_size_in_bytes")
    # What is donated is argument and result in one.
    return sum(int(getattr(sizes, part)) for part in parts) - int(sizes.alias_size_in_bytes)


class Ours:
    """Our model of one backbone and precision.

    Args:
        config: the model.
        values: weights by PyTorch's names; initial ones of the model where None.
    """

    def __init__(self, config: MDHRConfig, values: Tensors | None):
        self.config, self.model = config, FunctionalModel.create(config)
        params, stats = self.model.param_shapes, self.model.stat_shapes
        if values is None:
            self.params, self.stats = jax.jit(self.model.init)(jax.random.key(0))
            return
        arrays = arrays_from_torch(values, params | stats, config.au_set)
        self.params = {path: jnp.asarray(arrays[path], spec.dtype) for path, spec in params.items()}
        self.stats = {path: jnp.asarray(arrays[path], spec.dtype) for path, spec in stats.items()}

    def clips(self, inputs: Inputs) -> Float[Array, "B T H W 3"]:
        """Clips on the device, in the model's number format."""
        return jnp.asarray(inputs.clips, self.config.dtype)

    def forward(self, inputs: Inputs, *, again: bool = True) -> tuple[Compiled, Runner]:
        """The forward pass in evaluation mode."""
        clips = self.clips(inputs)
        predict = jax.jit(lambda params, stats, clips: self.model.predict(params, stats, clips).scores)
        compiled = compile_program(predict, self.params, self.stats, clips, again=again)
        last: list[Any] = []

        def run() -> None:
            last[:] = [compiled.call(self.params, self.stats, clips)]

        return compiled, _step_by_step(run, last)

    def training(self, inputs: Inputs, *, again: bool = True) -> tuple[Compiled, Runner]:
        """Forward and backward pass, running statistics and AdamW; the weights are trained on."""
        optimizer = make_optimizer(LEARNING_RATE, _STEPS)
        au_set, weights = self.config.au_set, jnp.asarray(inputs.au_weights, jnp.float32)
        clips, labels = self.clips(inputs), jnp.asarray(inputs.labels)

        def loss(params: Arrays, stats: Arrays, clips: Array, labels: Array) -> tuple[Array, Arrays]:
            output, stats = self.model.train(params, stats, clips, None)
            codes = losses.encode_region_labels(au_set, labels)
            return losses.total_loss(output.scores, output.region_logits, labels, codes, weights).total, stats

        def step(
            params: Arrays, stats: Arrays, opt_state: Any, clips: Array, labels: Array
        ) -> tuple[Any, Arrays, Any, Array]:
            (value, stats), grads = jax.value_and_grad(loss, has_aux=True)(params, stats, clips, labels)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return optax.apply_updates(params, updates), stats, opt_state, value

        opt_state = jax.jit(optimizer.init)(self.params)
        function = jax.jit(step, donate_argnums=(0, 1, 2))
        compiled = compile_program(function, self.params, self.stats, opt_state, clips, labels, again=again)
        state: list[Any] = [self.params, self.stats, opt_state, None]

        def run() -> None:
            state[:] = compiled.call(*state[:3], clips, labels)
            self.params, self.stats = state[:2]

        return compiled, _step_by_step(run, state)

    def streaming(
        self, streams: int, places: int, size: int, *, again: bool = True
    ) -> tuple[Compiled, Runner]:
        """The step that takes `places` more frames of each of `streams` streams."""
        streaming = StreamingModel(self.model)
        state = streaming.init(streams, size)
        frames = jnp.zeros((streams, places, size, size, 3), self.config.dtype)
        real = jnp.full((streams,), places, jnp.int32)
        fixed = (frames, real, jnp.zeros_like(real), jnp.zeros((streams,), bool))
        step = jax.jit(streaming.step, donate_argnums=2)
        compiled = compile_program(step, self.params, self.stats, state, *fixed, again=again)
        last: list[Any] = [state, None]

        def run() -> None:
            last[:] = compiled.call(self.params, self.stats, last[0], *fixed)

        return compiled, _step_by_step(run, last)


def _step_by_step(run: Callable[[], None], results: list[Any]) -> Runner:
    """Runs a step as our commands do, which look after their memory behind each."""

    def step() -> None:
        run()
        freed_memory.settle()

    return Runner(step, lambda: jax.block_until_ready(results))
