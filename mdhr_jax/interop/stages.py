"""The forward pass of MDHR cut into stages, to compare it with the reference's one by one."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int8

from mdhr_jax.interop import measurements
from mdhr_jax.models.dynamics import MultiScaleDynamics
from mdhr_jax.models.mdhr import MDHR
from mdhr_jax.models.relations import active_aus


def forward_stages(
    model: MDHR, clips: Float[Array, "B T H W 3"], given: Int8[Array, "F N"] | None = None
) -> dict[str, Array]:
    """Runs a model of the reference's kind module by module, as its ``__call__`` does.

    In training mode running statistics are updated once, as there.

    Args:
        model: of the reference variant with all its modules.
        clips: normalised frames.
        given: AUs (1) that the graph takes for active in place of those that the region classifiers
            predict; -1 where it is left to them.

    Returns:
        The stages of `measurements.stage_names`, not in order where jitted; the frames of all clips come
        first, positions of a map and channels last.

    Raises:
        ValueError: the model lacks a module.
    """
    if model.static is None or model.dynamics is None or model.graph is None or model.temporal is None:
        raise ValueError("the reference has no model without static branch, MFD, graph or temporal head")
    batch, length = clips.shape[:2]
    frames = batch * length
    regions = model.config.regions

    features = model.backbone(clips.reshape(frames, *clips.shape[2:]))
    final = features.final
    maps = {f"backbone scale {i}": scale for i, scale in enumerate(features.scales, 1)}
    maps["backbone final map"] = final
    static = model.static(final.reshape(frames, -1, final.shape[-1]))
    maps["static branch"] = static
    scales = tuple(scale.reshape(batch, length, *scale.shape[1:]) for scale in features.scales)
    maps |= _dynamics_stages(model.dynamics, scales)
    whole = static + maps["MFD output"].reshape(static.shape)
    maps["G"] = whole
    stages = {name: x.reshape(frames, -1, x.shape[-1]) for name, x in maps.items()}

    vectors, logits = model.local(whole.reshape(*final.shape[:3], -1))
    stages |= {
        measurements.region_stage(region): x for region, x in zip(regions.regions, logits, strict=True)
    }
    stages["AU vectors"] = vectors
    active = active_aus(regions, logits)
    stages[measurements.ACTIVATIONS] = active.astype(clips.dtype)
    if given is not None:
        active = jnp.where(given < 0, active, given == 1)
    vectors = model.graph(vectors, active)
    stages[measurements.GRAPH] = vectors
    vectors = model.temporal(vectors.reshape(batch, length, *vectors.shape[1:]))
    stages[measurements.TEMPORAL] = vectors.reshape(frames, *vectors.shape[2:])
    stages[measurements.SCORES] = model.classifier(vectors).reshape(frames, -1)
    return stages


def _dynamics_stages(
    dynamics: MultiScaleDynamics, scales: tuple[Float[Array, "B T _ _ _"], ...]
) -> dict[str, Float[Array, "F h w _"]]:
    """The stages of MFD."""
    pooled = dynamics.pool(scales)
    logits = dynamics.weight_logits(pooled)
    output = dynamics.project(dynamics.fuse(pooled, logits))
    named = {f"MFD scale {i}, pooled": x for i, x in enumerate(pooled, 1)}
    named |= {"MFD weight logits": logits, "MFD output": output}
    return {name: x.reshape(-1, *x.shape[2:]) for name, x in named.items()}
