"""The model as pure functions of flat dictionaries, the form in which it is trained, saved and sharded.

A parameter is known by its path in the module tree, such as ``backbone.stages.0.1.convs.2.kernel``.
Plain dictionaries cross `jax.jit` without the walk over the module graph that `nnx.jit` repeats at
every call.
"""

import dataclasses
from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from mdhr_jax.models.mdhr import MDHR, MDHRConfig, MDHROutput

Arrays = dict[str, Array]


def flatten(state: nnx.State) -> Arrays:
    """Arrays of a module's state by dotted path."""
    return {".".join(map(str, path)): leaf[...] for path, leaf in nnx.to_flat_state(state)}


def unflatten(arrays: Arrays) -> dict[Any, Any]:
    """The nested dictionary that `nnx.merge` takes; numbers in a path are positions in a list."""
    tree: dict[Any, Any] = {}
    for path, leaf in arrays.items():
        *parents, name = (int(key) if key.isdigit() else key for key in path.split("."))
        node = tree
        for key in parents:
            node = node.setdefault(key, {})
        node[name] = leaf
    return tree


def _shapes(state: nnx.State) -> dict[str, jax.ShapeDtypeStruct]:
    return {
        ".".join(map(str, path)): jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
        for path, leaf in nnx.to_flat_state(state)
    }


@dataclasses.dataclass(frozen=True)
class FunctionalModel:
    """An MDHR network without its arrays.

    Make one with `FunctionalModel.create`.

    Attributes:
        config: what was built.
        train_graph, eval_graph: structure in training and in evaluation mode.
        param_shapes, stat_shapes: shape and type of parameters and batch statistics, by dotted path.
    """

    config: MDHRConfig
    train_graph: nnx.GraphDef[MDHR]
    eval_graph: nnx.GraphDef[MDHR]
    param_shapes: dict[str, jax.ShapeDtypeStruct] = dataclasses.field(compare=False)
    stat_shapes: dict[str, jax.ShapeDtypeStruct] = dataclasses.field(compare=False)

    @staticmethod
    def create(config: MDHRConfig) -> "FunctionalModel":
        """Builds the structure; no array is allocated."""

        def build() -> MDHR:
            return MDHR(config, rngs=nnx.Rngs(params=jax.random.key(0)))

        model = nnx.eval_shape(build)
        train_graph, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
        model.eval()
        eval_graph = nnx.split(model, nnx.Param, nnx.BatchStat)[0]
        return FunctionalModel(config, train_graph, eval_graph, _shapes(params), _shapes(stats))

    def init(self, key: PRNGKeyArray) -> tuple[Arrays, Arrays]:
        """Initial parameters and batch statistics; a pure function of the key, to be jitted."""
        _, params, stats = nnx.split(MDHR(self.config, rngs=nnx.Rngs(params=key)), nnx.Param, nnx.BatchStat)
        return flatten(params), flatten(stats)

    def train(
        self,
        params: Arrays,
        batch_stats: Arrays,
        clips: Float[Array, "B T H W 3"],
        rng: PRNGKeyArray | None,
    ) -> tuple[MDHROutput, Arrays]:
        """Prediction with batch statistics, and the updated running statistics.

        Args:
            params, batch_stats: as from `init`.
            clips: normalised frames.
            rng: key of the stochastic depth; off where None.

        Raises:
            ValueError: the clips cannot be cut into the groups of `MDHRConfig.batch_norm_groups`.
        """
        groups = self.config.batch_norm_groups
        if clips.shape[0] % groups:
            raise ValueError(
                f"{clips.shape[0]} clips cannot be normalised in {groups} equal groups "
                "(model.batch_norm_groups)"
            )
        model = nnx.merge(self.train_graph, unflatten(params), unflatten(batch_stats))
        output = model(clips, rng)
        return output, flatten(nnx.state(model, nnx.BatchStat))

    def predict(self, params: Arrays, batch_stats: Arrays, clips: Float[Array, "B T H W 3"]) -> MDHROutput:
        """Deterministic prediction with running statistics."""
        return nnx.merge(self.eval_graph, unflatten(params), unflatten(batch_stats))(clips)
