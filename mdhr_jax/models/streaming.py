"""The model on streams of frames: each frame passes the backbone once, memory and cost a frame are constant.

The scores are those of the model's call on the whole stream as one clip, its first and last frames included.
Frame t depends on the frames t-k ... t+k through the dynamics, and on two more on either side through the
temporal convolution, so its scores are known `StreamingModel.look_ahead` frames later. What is needed until
then is kept in arrays of fixed length, oldest first:

    previous   maps of the newest frame, of which the next difference is taken
    resized    the newest 2k - 1 differences, resized to the final map
    static     static features of the newest k frames, which wait for the differences after them
    vectors    the newest 4 AU vectors, for the temporal convolution

Nothing is summed up over time, so that nothing drifts. What lies before the first frame or behind the last is
decided by the frames' numbers, never by what the arrays hold: a stream begins anew without clearing them.
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int32

from mdhr_jax.models.dynamics import average_neighbours, temporal_differences
from mdhr_jax.models.functional import Arrays, FunctionalModel, unflatten
from mdhr_jax.models.mdhr import MDHR, MDHRConfig
from mdhr_jax.models.temporal import TemporalConv


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StreamState:
    """What is kept of S streams between two chunks; see the module's description.

    Attributes:
        position: (S,) int32, frames taken, those behind the end included.
        length: (S,) int32, frames taken before the end.
        previous: of each used scale, (S, H, W, C).
        resized: of each used scale, (S, 2k-1, h, w, C).
        static: (S, k, h, w, D); None without dynamics.
        vectors: (S, 4, N, D); None without temporal convolution.
    """

    # Any: JAX rebuilds pytrees with leaves that are not arrays.
    position: Any
    length: Any
    previous: tuple[Any, ...]
    resized: tuple[Any, ...]
    static: Any
    vectors: Any


@dataclasses.dataclass(frozen=True)
class StreamingModel:
    """A network as a pure function from chunks of frames to scores, to be jitted.

    Attributes:
        model: the network.
    """

    model: FunctionalModel

    @property
    def _dynamics_reach(self) -> int:
        config = self.model.config
        return config.neighbors if config.uses_dynamics else 0

    @property
    def look_ahead(self) -> int:
        """Frames after a frame that its scores depend on, and so wait for."""
        return look_ahead(self.model.config)

    def init(self, streams: int, image_size: int) -> StreamState:
        """The state of streams that have not begun.

        Args:
            streams: S.
            image_size: edge of the frames in pixels.

        Raises:
            ValueError: the backbone cannot take the size.
        """
        self.model.config.check_image_size(image_size)
        image = jax.ShapeDtypeStruct((streams, image_size, image_size, 3), jnp.dtype(self.model.config.dtype))
        previous, resized, static, vectors = jax.eval_shape(
            self._of_frames, self.model.param_shapes, self.model.stat_shapes, image
        )

        def kept(frames: int, of_one: jax.ShapeDtypeStruct) -> Array:
            return jnp.zeros((streams, frames, *of_one.shape[1:]), of_one.dtype)

        reach = self._dynamics_reach
        return StreamState(
            position=jnp.zeros(streams, jnp.int32),
            length=jnp.zeros(streams, jnp.int32),
            previous=tuple(jnp.zeros(maps.shape, maps.dtype) for maps in previous),
            resized=tuple(kept(2 * reach - 1, maps) for maps in resized),
            static=kept(reach, static) if reach else None,
            vectors=kept(TemporalConv.kernel_size - 1, vectors) if self.model.config.tcn else None,
        )

    def _of_frames(self, params: Arrays, batch_stats: Arrays, images: Float[Array, "S H W 3"]) -> tuple:
        """What each of the arrays keeps of single frames; its values mean nothing."""
        network = self._network(params, batch_stats)
        extracted = network.extract(images)
        static = network.static_features(extracted.final)
        previous = _used(network, extracted.scales)
        resized = [_resize(network, i, maps[:, None])[:, 0] for i, maps in enumerate(previous)]
        return previous, resized, static, network.relate(static)[0]

    def step(
        self,
        params: Arrays,
        batch_stats: Arrays,
        state: StreamState,
        frames: Float[Array, "S F H W 3"],
        real: Int32[Array, "S"],
        behind: Int32[Array, "S"],
        fresh: Bool[Array, "S"],
    ) -> tuple[StreamState, Float[Array, "S F N"]]:
        """Takes up to F more frames of each stream.

        A stream's places hold `real` frames, then `behind` places that stand for what comes behind its end
        (their pixels are ignored), then places that mean nothing. To get the last scores out of a stream, end
        it with `look_ahead` places behind its end.

        Args:
            params, batch_stats: of the network.
            state: as `init` or the last step gave it.
            frames: normalised, as the network's call takes them.
            real: frames of each stream in this chunk, 0 to F.
            behind: places behind its end; `real + behind` is at most F.
            fresh: streams that begin with this chunk, whatever their state.

        Returns:
            The next state, and scores: at place j those of the frame `position + j - look_ahead`, counted
            from the beginning of the stream, with the position before this step. They mean something where
            that is a frame of the stream and ``j < real + behind``.
        """
        network = self._network(params, batch_stats)
        streams, places = frames.shape[:2]
        advance = real + behind
        position = jnp.where(fresh, 0, state.position)
        length = jnp.where(fresh, 0, state.length) + real

        def numbers(first: int, count: int) -> Int32[Array, "S count"]:
            """Numbers of frames in a row, the first counted from this chunk's first."""
            return position[:, None] + (first + jnp.arange(count, dtype=jnp.int32))

        extracted = network.extract(frames.reshape(streams * places, *frames.shape[2:]))
        features = network.static_features(extracted.final)
        features = features.reshape(streams, places, *features.shape[1:])
        reach, previous, resized, static = self._dynamics_reach, (), (), None
        if network.dynamics is not None:
            maps = tuple(x.reshape(streams, places, *x.shape[1:]) for x in _used(network, extracted.scales))
            clips = [jnp.concatenate([x[:, None], y], 1) for x, y in zip(state.previous, maps, strict=True)]
            # The first difference is named by the second frame.
            known = (numbers(0, places) >= 1) & (numbers(0, places) < length[:, None])
            before = numbers(1 - 2 * reach, 2 * reach - 1) >= 1
            windows = []
            for i, (clip, kept) in enumerate(zip(clips, state.resized, strict=True)):
                missing = _beyond_the_ends(network, i, clip)
                newest = _where(known, _resize(network, i, temporal_differences(clip)), missing)
                windows.append(jnp.concatenate([_where(before, kept, missing), newest], 1))
            previous = tuple(_rows(clip, real, 1)[:, 0] for clip in clips)
            resized = tuple(_rows(window, advance, 2 * reach - 1) for window in windows)
            waiting = jnp.concatenate([state.static, features], 1)
            static = _rows(waiting, advance, reach)
            pooled = [average_neighbours(window, places, reach) for window in windows]
            logits = network.dynamics.weight_logits(pooled) if network.dynamics.weighted else None
            moving = network.dynamics.project(network.dynamics.fuse(pooled, logits))
            features = waiting[:, :places] + moving

        found, _ = network.relate(features.reshape(streams * places, *features.shape[2:]))
        found = found.reshape(streams, places, *found.shape[1:])
        vectors = None
        if network.temporal is not None:
            around = TemporalConv.kernel_size - 1
            inside = numbers(-reach, places)
            found = _where((inside >= 0) & (inside < length[:, None]), found, jnp.zeros((), found.dtype))
            kept = _where(numbers(-reach - around, around) >= 0, state.vectors, jnp.zeros((), found.dtype))
            window = jnp.concatenate([kept, found], 1)
            vectors = _rows(window, advance, around)
            found = network.temporal.filter(window)
        scores = network.classifier(found)
        return StreamState(position + advance, length, previous, resized, static, vectors), scores

    def _network(self, params: Arrays, batch_stats: Arrays) -> MDHR:
        return nnx.merge(self.model.eval_graph, unflatten(params), unflatten(batch_stats))


def look_ahead(config: MDHRConfig) -> int:
    """Frames after a frame that a model's scores depend on: k for the dynamics, 2 for the convolution."""
    dynamics = config.neighbors if config.uses_dynamics else 0
    return dynamics + (TemporalConv.kernel_size // 2 if config.tcn else 0)


def _used(network: MDHR, scales: tuple[Any, ...]) -> tuple[Array, ...]:
    return () if network.dynamics is None else tuple(scales[scale - 1] for scale in network.dynamics.scales)


def _resize(network: MDHR, place: int, differences: Float[Array, "S F H W C"]) -> Array:
    if network.dynamics is None:
        raise RuntimeError("a model without dynamics resizes nothing")
    return network.dynamics.resize(place, differences)


def _beyond_the_ends(network: MDHR, place: int, clip: Float[Array, "S F H W C"]) -> Array:
    """What stands for the differences before the second frame and behind the last: zeros, or a still's."""
    if network.config.variant == "reference":
        return jnp.zeros((), clip.dtype)
    return _resize(network, place, jnp.zeros_like(clip[:1, :1]))


def _where(chosen: Bool[Array, "S F"], values: Float[Array, "S F *rest"], others: Array) -> Array:
    return jnp.where(chosen.reshape(*chosen.shape, *[1] * (values.ndim - 2)), values, others)


def _rows(values: Float[Array, "S F *rest"], first: Int32[Array, "S"], count: int) -> Array:
    """So many in a row of each stream, from a place of its own on."""
    return jax.vmap(lambda rows, start: jax.lax.dynamic_slice_in_dim(rows, start, count))(values, first)
