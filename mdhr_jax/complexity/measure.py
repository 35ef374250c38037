"""Parameters, arithmetic and memory of a model and its modules, from what XLA compiles; nothing is allocated.

Everything is compiled from shapes. Arithmetic is XLA's cost analysis of the compiled program: a
multiplication and an addition count as two, what a convolution multiplies with its zero padding is not
counted, elementwise operations are. Memory is what the compiler plans for intermediate values: ``temp`` of
its memory analysis, without weights, inputs and results; it depends on the compiler, so on the device.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh
from jaxtyping import PyTree
from ml_collections import ConfigDict

from mdhr_jax import config as config_lib
from mdhr_jax import parallel
from mdhr_jax.data.clips import decode_edge
from mdhr_jax.models.backbone import BackboneFeatures
from mdhr_jax.models.functional import FunctionalModel, unflatten
from mdhr_jax.models.mdhr import MDHR, MDHRConfig
from mdhr_jax.training.optimizer import make_optimizer
from mdhr_jax.training.state import StateFactory
from mdhr_jax.training.step import StepOptions, jit_train_step

MODULES = {
    "backbone": "backbone",
    "static": "static branch",
    "dynamics": "dynamics (MFD)",
    "local": "regions and AU extractors",
    "graph": "graph (CRM)",
    "temporal": "temporal convolution (TCN)",
    "classifier": "classifier",
}
"""Modules of the model in the order of the data flow, and what they are called."""

WHOLE = "whole model"


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a module or a whole model costs.

    Attributes:
        backbone: of the model.
        module: a value of `MODULES`, or `WHOLE`.
        parameters: trained numbers.
        flops_forward: arithmetic of the forward pass, of one frame.
        flops_training: of forward and backward pass, of one frame; of the whole model with augmentation,
            loss and optimiser.
        memory_forward: bytes of intermediate values in the forward pass of one clip.
        memory_training: bytes of intermediate values in a training step; of a module in its own forward and
            backward pass.

    What was not measured is None.
    """

    backbone: str
    module: str
    parameters: int
    flops_forward: float
    flops_training: float | None
    memory_forward: int
    memory_training: int | None


@dataclasses.dataclass(frozen=True)
class _Stage:
    """A module and how it is called; `inputs` are shapes, those that carry no gradient in `fixed`."""

    name: str
    call: Callable[..., PyTree]
    inputs: PyTree
    fixed: PyTree = ()


def count_steps(config: MDHRConfig) -> int:
    """How many costs `measure` yields."""
    return len(_present(config)) + 1


def measure(config: ConfigDict, *, training: bool = True) -> Iterator[Cost]:
    """Costs of each module of a configuration's model in the order of the data flow, then of the whole.

    Modules that the model does not have are left out.

    Args:
        config: whole; its `train.batch_size` clips are trained on at once.
        training: also measure training, which takes most of the time.

    Raises:
        ValueError: the configuration is wrong.
    """
    config_lib.validate(config)
    model = FunctionalModel.create(config_lib.model_config(config))
    length, size = config.data.clip_length, config.data.image_size
    batch, frames = config.train.batch_size, config.train.batch_size * length
    backbone = model.config.backbone
    trained = {stage.name: stage for stage in _stages(model.config, batch, length, size, train=True)}
    for stage in _stages(model.config, 1, length, size, train=False):
        forward = _compile_forward(model, stage)
        backward = _compile_training(model, trained[stage.name]) if training else None
        yield Cost(
            backbone=backbone,
            module=MODULES[stage.name],
            parameters=_elements(_part(model.param_shapes, stage.name)),
            flops_forward=_flops(forward) / length,
            flops_training=None if backward is None else _flops(backward) / frames,
            memory_forward=_memory(forward),
            memory_training=None if backward is None else _memory(backward),
        )
    clips = jax.ShapeDtypeStruct((1, length, size, size, 3), model.config.dtype)
    forward = jax.jit(model.predict).lower(model.param_shapes, model.stat_shapes, clips).compile()
    step = _compile_step(model, config) if training else None
    yield Cost(
        backbone=backbone,
        module=WHOLE,
        parameters=_elements(model.param_shapes),
        flops_forward=_flops(forward) / length,
        flops_training=None if step is None else _flops(step) / frames,
        memory_forward=_memory(forward),
        memory_training=None if step is None else _memory(step),
    )


@functools.lru_cache(maxsize=4)
def _abstract(config: MDHRConfig, *, train: bool) -> MDHR:
    """The modules with shapes in place of arrays."""
    model = nnx.eval_shape(lambda: MDHR(config, rngs=nnx.Rngs(params=jax.random.key(0))))
    if not train:
        model.eval()
    return model


def _present(config: MDHRConfig) -> tuple[str, ...]:
    model = _abstract(config, train=False)
    return tuple(name for name in MODULES if getattr(model, name) is not None)


def _stages(config: MDHRConfig, batch: int, length: int, size: int, *, train: bool) -> list[_Stage]:
    """The modules that there are, each with the shapes that reach it; as the model calls them."""
    frames, dtype = batch * length, jnp.dtype(config.dtype)
    model = FunctionalModel.create(config)
    stages: list[_Stage] = []

    def add(name: str, call: Callable[..., PyTree], inputs: PyTree, fixed: PyTree = ()) -> PyTree:
        stages.append(_Stage(name, call, inputs, fixed))
        return _result(model, stages[-1], train=train)

    def shape(like: Any, *dims: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(dims, like.dtype)

    # Nobody needs the gradient of the images.
    images = jax.ShapeDtypeStruct((frames, size, size, 3), dtype)
    extracted: BackboneFeatures = add("backbone", lambda module, images: module(images), (), (images,))
    final = extracted.final
    height, width = final.shape[1:3]
    present = _present(config)
    features = final
    if "static" in present:
        tokens = shape(final, frames, height * width, final.shape[-1])
        features = add("static", lambda module, tokens: module(tokens), (tokens,))
    if "dynamics" in present:
        scales = tuple(shape(scale, batch, length, *scale.shape[1:]) for scale in extracted.scales)
        features = add("dynamics", lambda module, scales: module(scales), (scales,))
    whole = shape(features, frames, height, width, features.shape[-1])
    vectors, _ = add("local", lambda module, features: module(features), (whole,))
    if "graph" in present:
        active = jax.ShapeDtypeStruct(vectors.shape[:2], bool)
        vectors = add("graph", lambda module, vectors, active: module(vectors, active), (vectors,), (active,))
    vectors = shape(vectors, batch, length, *vectors.shape[1:])
    if "temporal" in present:
        vectors = add("temporal", lambda module, vectors: module(vectors), (vectors,))
    add("classifier", lambda module, vectors: module(vectors), (vectors,))
    return stages


def _part(arrays: dict[str, Any], name: str) -> dict[str, Any]:
    """The arrays of a module by their path in it."""
    return {path.removeprefix(f"{name}."): x for path, x in arrays.items() if path.startswith(f"{name}.")}


def _function(
    model: FunctionalModel, stage: _Stage, *, train: bool
) -> tuple[Callable[..., PyTree], Any, Any]:
    """A stage as a function of parameters, statistics, inputs and what is fixed; and its two shapes."""
    module = getattr(_abstract(model.config, train=train), stage.name)
    graph = nnx.split(module, nnx.Param, nnx.BatchStat)[0]

    def run(params: Any, stats: Any, inputs: PyTree, fixed: PyTree) -> PyTree:
        return stage.call(nnx.merge(graph, unflatten(params), unflatten(stats)), *inputs, *fixed)

    return run, _part(model.param_shapes, stage.name), _part(model.stat_shapes, stage.name)


def _result(model: FunctionalModel, stage: _Stage, *, train: bool) -> PyTree:
    run, params, stats = _function(model, stage, train=train)
    return jax.eval_shape(run, params, stats, stage.inputs, stage.fixed)


def _compile_forward(model: FunctionalModel, stage: _Stage) -> Any:
    run, params, stats = _function(model, stage, train=False)
    return jax.jit(run).lower(params, stats, stage.inputs, stage.fixed).compile()


def _compile_training(model: FunctionalModel, stage: _Stage) -> Any:
    """Forward and backward pass for any gradient of the result."""
    run, params, stats = _function(model, stage, train=True)
    result = jax.eval_shape(run, params, stats, stage.inputs, stage.fixed)

    def both(params: Any, stats: Any, inputs: PyTree, fixed: PyTree, gradient: PyTree) -> PyTree:
        _, pull = jax.vjp(lambda p, x: run(p, stats, x, fixed), params, inputs)
        return pull(gradient)

    return jax.jit(both).lower(params, stats, stage.inputs, stage.fixed, result).compile()


def _compile_step(model: FunctionalModel, config: ConfigDict) -> Any:
    """The training step of the project on one device, state donated."""
    train, length, num_aus = config.train, config.data.clip_length, model.config.au_set.num_aus
    mesh = Mesh(np.asarray(jax.devices()[:1]).reshape(1, 1), (parallel.DATA, parallel.FSDP))
    optimizer = make_optimizer(train.learning_rate, 100, weight_decay=train.weight_decay)
    states = StateFactory(model, optimizer, mesh, ema=train.ema > 0)
    options = StepOptions(
        image_size=config.data.image_size,
        crop_margin=config.data.crop_margin,
        class_weights=(1.0,) * num_aus,
        region_weight=train.region_weight,
        accumulate=train.accumulate,
        ema=train.ema,
    )
    edge = decode_edge(config.data.image_size, config.data.crop_margin)
    batch = train.batch_size
    shapes = {
        "frames": ((batch, length, edge, edge, 3), jnp.uint8),
        "labels": ((batch, length, num_aus), jnp.int8),
        "offset": ((batch, 2), jnp.int32),
        "flip": ((batch,), jnp.bool_),
        "factors": ((batch, 3), jnp.float32),
    }
    batch_shapes = {name: jax.ShapeDtypeStruct(*spec) for name, spec in shapes.items()}
    step: Any = jit_train_step(model, optimizer, options, mesh, states.shardings)
    return step.lower(states.abstract, batch_shapes).compile()


def _flops(compiled: Any) -> float:
    analysis = compiled.cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis
    # A program without arithmetic does not mention it.
    return float(analysis.get("flops", 0.0))


def _memory(compiled: Any) -> int:
    return int(compiled.memory_analysis().temp_size_in_bytes)


def _elements(shapes: dict[str, Any]) -> int:
    return sum(x.size for x in shapes.values())
