"""Local relationships (first stage of HSR): facial regions, AU feature extractors, region classifiers.

Paper, section 3.2, Eq. 7-8; reference specification, section 5.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float

from mdhr_jax.facs import AUSet, Variant, band_rows
from mdhr_jax.models.layers import Linear, LinearBlock, Precision


def active_aus(au_set: AUSet, region_logits: tuple[Float[Array, "F _"], ...]) -> Bool[Array, "F N"]:
    """AUs that the region classifiers predict present, in label order; no gradient flows through.

    Args:
        au_set: defines the coding of the regions.
        region_logits: one array a region group, in the table's order.
    """
    active: list[Array | None] = [None] * au_set.num_aus
    for region, logits in zip(au_set.regions, region_logits, strict=True):
        code = jnp.argmax(jax.lax.stop_gradient(logits), axis=-1)
        columns = au_set.columns(region)
        for bit, column in enumerate(reversed(columns)):
            active[column] = (code >> bit) & 1 == 1
    return jnp.stack([bit for bit in active if bit is not None], axis=-1)


class LocalRelations(nnx.Module):
    """AU vectors from the region of the face where each AU lies, and the classifiers of AU combinations.

    Args:
        au_set: AUs and their region groups.
        in_width: channels of G.
        width: length of an AU vector.
        afe: whether each AU has an extractor on its region. Without, every AU gets the mean of the
            whole map and the vectors have length `in_width`.
        aux: whether region classifiers are built.
        variant: ``reference`` extracts with linear + BN + ReLU and gives region groups a linear block
            of their own where the table says so; ``paper`` reads the slices with one linear layer.
    """

    def __init__(
        self,
        au_set: AUSet,
        in_width: int,
        width: int,
        *,
        afe: bool,
        aux: bool,
        variant: Variant,
        precision: Precision,
        rngs: nnx.Rngs,
    ):
        common = {"precision": precision, "rngs": rngs}
        self.au_set, self.variant = au_set, variant
        self.vector_width = width if afe else in_width
        regions = au_set.regions
        self.region_blocks = (
            nnx.List(LinearBlock(in_width, in_width, **common) for _ in regions)
            if afe and au_set.region_blocks and variant == "reference"
            else None
        )
        self.extractors = (
            nnx.List(self._extractor(in_width, width, len(region.aus), **common) for region in regions)
            if afe
            else None
        )
        self.classifiers = (
            nnx.List(Linear(in_width, region.num_combinations, **common) for region in regions)
            if aux
            else None
        )
        in_region_order = [column for region in regions for column in au_set.columns(region)]
        self.label_order = tuple(int(i) for i in np.argsort(in_region_order))

    def _extractor(
        self, in_width: int, width: int, num_aus: int, *, precision: Precision, rngs: nnx.Rngs
    ) -> LinearBlock | Linear:
        """The extractors of one region's AUs side by side."""
        if self.variant == "reference":
            return LinearBlock(in_width, width, blocks=num_aus, precision=precision, rngs=rngs)
        return Linear(in_width, width * num_aus, precision=precision, rngs=rngs)

    def __call__(
        self, features: Float[Array, "F h w C"]
    ) -> tuple[Float[Array, "F N D"], tuple[Float[Array, "F _"], ...]]:
        """AU vectors in label order, and the logits of each region group's AU combinations.

        Args:
            features: G of every frame.
        """
        frames, height, _, channels = features.shape
        vectors, logits = [], []
        for i, region in enumerate(self.au_set.regions):
            tokens = features[:, band_rows(region.band, height)].reshape(frames, -1, channels)
            if self.region_blocks is not None:
                tokens = self.region_blocks[i](tokens)
            if self.classifiers is not None:
                logits.append(self.classifiers[i](tokens.mean(1)))
            if self.extractors is not None:
                # A single linear layer commutes with the mean, a block with its ReLU does not.
                extract = self.extractors[i]
                found = extract(tokens.mean(1)) if self.variant == "paper" else extract(tokens).mean(1)
                vectors.append(found.reshape(frames, len(region.aus), -1))
        if not vectors:
            mean = features.mean((1, 2))[:, None]
            return jnp.broadcast_to(mean, (frames, self.au_set.num_aus, channels)), tuple(logits)
        return jnp.concatenate(vectors, axis=1)[:, self.label_order, :], tuple(logits)
