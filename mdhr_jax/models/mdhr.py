"""The assembled model: backbone, multi-scale dynamics, hierarchical relations, temporal head.

Paper, Algorithm 1; reference specification, sections 2 to 8.
"""

import dataclasses
from typing import Any, cast, get_args

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PRNGKeyArray

from mdhr_jax.facs import AUSet, Variant
from mdhr_jax.models.backbone import BackboneFeatures
from mdhr_jax.models.dynamics import NUM_SCALES, Fusion, MultiScaleDynamics
from mdhr_jax.models.graph import Edges, GraphAttention
from mdhr_jax.models.layers import BatchNorm, LinearBlock, Precision
from mdhr_jax.models.relations import LocalRelations, active_aus
from mdhr_jax.models.resnet import ResNet, ResNetConfig
from mdhr_jax.models.swin import Swin, SwinConfig
from mdhr_jax.models.temporal import SimilarityClassifier, TemporalConv

BACKBONES: dict[str, ResNetConfig | SwinConfig] = {
    "resnet50": ResNetConfig.resnet50(),
    "resnet18": ResNetConfig.resnet18(),
    "tiny": ResNetConfig.tiny(),
    "swin_base": SwinConfig.base(),
    "swin_tiny": SwinConfig.tiny(),
}


@dataclasses.dataclass(frozen=True)
class MDHRConfig:
    """Everything that shapes the model; nonsense is refused when it is made.

    Attributes:
        au_set: the AUs to recognise; region heads, adjacency and output width follow from it.
        backbone: a key of `BACKBONES`; case does not matter.
        variant: where paper and reference code differ (specification, section 8), which is built.
        width: length of an AU vector; 512 in the reference.
        neighbors: k, frames that the dynamics look at on either side; 5 in the reference.
        mfd: multi-scale facial dynamics; without, frames are described by the static branch alone.
        afe: an extractor per AU on its facial region.
        aux: region classifiers of AU combinations.
        crm: cross-regional graph attention.
        tcn: temporal convolution of the AU vectors.
        mfd_scales: spatial scales of the dynamics, 1 (finest) to 4; none is the same as ``mfd=False``.
        fusion: how the scales are combined (Table 4).
        edges: which AUs the graph connects (Table 5).
        dense_graph: computes the graph attention with dense matrices instead of jraph.
        batch_norm_groups: equal groups of clips that batch normalisation takes its statistics of in
            training; the running ones are then those of the first group. 1, the default: the whole batch.
            The reference on n GPUs is n groups.
        remat: keeps only the output of each backbone block for the backward pass and computes its inside
            again: much less memory, about a third more time. Results are the same.
        remat_stages: stages of the backbone, 1 to 4, of which `remat` is true; the first ones hold most.
        drop_path: largest stochastic-depth rate of a Swin backbone; its own default where None.
        dtype: format of the arithmetic: ``float32``, ``bfloat16`` or ``float64``.
        param_dtype: format of parameters and statistics: ``float32`` or ``float64``.

    Raises:
        ValueError: fields that do not exist or contradict each other.
    """

    au_set: AUSet
    backbone: str = "resnet50"
    variant: str = "reference"
    width: int = 512
    neighbors: int = 5
    mfd: bool = True
    afe: bool = True
    aux: bool = True
    crm: bool = True
    tcn: bool = True
    mfd_scales: tuple[int, ...] = (1, 2, 3, 4)
    fusion: str = "adaptive"
    edges: str = "cross_activated"
    dense_graph: bool = False
    batch_norm_groups: int = 1
    remat: bool = False
    remat_stages: tuple[int, ...] = (1, 2, 3, 4)
    drop_path: float | None = None
    dtype: str = "float32"
    param_dtype: str = "float32"

    def __post_init__(self) -> None:
        object.__setattr__(self, "backbone", self.backbone.lower())
        object.__setattr__(self, "mfd_scales", tuple(self.mfd_scales))
        object.__setattr__(self, "remat_stages", tuple(self.remat_stages))
        _check_choice("backbone", self.backbone, tuple(BACKBONES))
        _check_choice("variant", self.variant, get_args(Variant))
        _check_choice("fusion", self.fusion, get_args(Fusion))
        _check_choice("edges", self.edges, get_args(Edges))
        _check_choice("dtype", self.dtype, ("float32", "bfloat16", "float64"))
        _check_choice("param_dtype", self.param_dtype, ("float32", "float64"))
        if self.width < 1 or self.neighbors < 1:
            raise ValueError(
                f"model.width and model.neighbors must be at least 1, found {self.width} and {self.neighbors}"
            )
        if self.batch_norm_groups < 1:
            raise ValueError(f"model.batch_norm_groups must be at least 1, found {self.batch_norm_groups}")
        valid = set(range(1, NUM_SCALES + 1))
        if len(set(self.mfd_scales)) != len(self.mfd_scales) or not set(self.mfd_scales) <= valid:
            raise ValueError(
                f"model.mfd_scales must be distinct scales out of {sorted(valid)}, found {self.mfd_scales}"
            )
        if not set(self.remat_stages) <= valid:
            raise ValueError(
                f"model.remat_stages must be stages out of {sorted(valid)}, found {self.remat_stages}"
            )
        if list(self.mfd_scales) != sorted(self.mfd_scales):
            raise ValueError(f"model.mfd_scales must be in ascending order, found {self.mfd_scales}")
        if self.aux and not self.afe:
            raise ValueError(
                "model.aux without model.afe: the region classifiers would supervise region features "
                "that nothing reads; switch afe on or aux off"
            )
        if self.crm and not self.afe:
            raise ValueError(
                "model.crm without model.afe: without extractors all AUs share one vector and the graph "
                "has nothing to relate; switch afe on or crm off"
            )
        if self.crm and self.edges == "cross_activated" and not self.aux:
            raise ValueError(
                "model.edges='cross_activated' needs model.aux: its region classifiers say which AUs are "
                "active; switch aux on or choose other edges"
            )
        if self.drop_path is not None and not isinstance(BACKBONES[self.backbone], SwinConfig):
            raise ValueError(f"model.drop_path is for Swin backbones, found backbone {self.backbone!r}")
        wide = "float64" in (self.dtype, self.param_dtype)
        if wide and jax.dtypes.canonicalize_dtype("float64") != jnp.float64:
            raise ValueError("float64 needs JAX_ENABLE_X64=1 (jax.config.update('jax_enable_x64', True))")

    def check_image_size(self, pixels: int) -> None:
        """Refuses an edge of the input that the backbone cannot take.

        Raises:
            ValueError: with the sizes that it takes.
        """
        kind = ResNet if isinstance(BACKBONES[self.backbone], ResNetConfig) else Swin
        multiple = kind.size_multiple
        if pixels % multiple or pixels < 64:
            raise ValueError(
                f"images of {pixels} pixels do not suit backbone {self.backbone!r}; it takes multiples of "
                f"{multiple}, at least {max(64, multiple)}"
            )

    @property
    def uses_dynamics(self) -> bool:
        """Whether any temporal differencing happens."""
        return self.mfd and bool(self.mfd_scales)

    @property
    def regions(self) -> AUSet:
        """The AU table with the region groups of this variant."""
        return self.au_set.for_variant(cast(Variant, self.variant))


def _check_choice(field: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"model.{field} is {value!r}, expected one of {', '.join(choices)}")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MDHROutput:
    """What the model predicts.

    Attributes:
        scores: (B, T, N), in [0, 1]; an AU is present at 0.5 and above.
        region_logits: of each region group (B*T, combinations), unnormalised, clips and frames flattened;
            empty without the auxiliary branch.
    """

    # Any: JAX rebuilds pytrees with leaves that are not arrays.
    scores: Any
    region_logits: tuple[Any, ...]


class MDHR(nnx.Module):
    """Multi-scale dynamic and hierarchical relationship model.

    Args:
        config: what to build.
        rngs: source of the initial parameters (stream ``params``).

    ``model(clips)`` is deterministic after ``model.eval()``. In training mode (the initial one, and after
    ``model.train()``) batch statistics are used and updated, and stochastic depth draws from the key
    given as ``rng``, or is off without one.
    """

    def __init__(self, config: MDHRConfig, *, rngs: nnx.Rngs):
        self.config = config
        precision = Precision(jnp.dtype(config.dtype), jnp.dtype(config.param_dtype))
        common = {"precision": precision, "rngs": rngs}
        self.backbone = _make_backbone(config, precision, rngs)
        last_width = 8 * self.backbone.scale_width
        variant = cast(Variant, config.variant)
        reference = variant == "reference"
        width = config.width if reference else last_width
        self.static = LinearBlock(last_width, width, **common) if reference else None
        self.dynamics = (
            MultiScaleDynamics(
                self.backbone.scale_width,
                width,
                neighbors=config.neighbors,
                scales=config.mfd_scales,
                fusion=cast(Fusion, config.fusion),
                variant=variant,
                **common,
            )
            if config.uses_dynamics
            else None
        )
        self.local = LocalRelations(
            config.regions,
            width,
            config.width,
            afe=config.afe,
            aux=config.aux,
            variant=variant,
            **common,
        )
        vector_width = self.local.vector_width
        self.graph = (
            GraphAttention(
                config.regions,
                vector_width,
                edges=cast(Edges, config.edges),
                residual=reference,
                dense=config.dense_graph,
                **common,
            )
            if config.crm
            else None
        )
        num_aus = config.au_set.num_aus
        self.temporal = TemporalConv(num_aus, vector_width, **common) if config.tcn else None
        self.classifier = SimilarityClassifier(num_aus, vector_width, **common)
        self.set_attributes(BatchNorm, groups=config.batch_norm_groups, raise_if_not_found=False)

    def __call__(self, clips: Float[Array, "B T H W 3"], rng: PRNGKeyArray | None = None) -> MDHROutput:
        """Scores of every frame.

        Args:
            clips: normalised RGB (ImageNet mean and standard deviation of values in [0, 1]); T >= 2
                where the dynamics are on; H and W multiples of 32 (Swin: of 224).
            rng: key of the stochastic depth; without one it is off.

        Raises:
            ValueError: a clip too short, or an image size that the backbone cannot take.
        """
        batch, frames = clips.shape[:2]
        self.check_shape(clips.shape)
        vectors, region_logits = self.relate(self.features(clips, rng))
        vectors = vectors.reshape(batch, frames, *vectors.shape[1:])
        if self.temporal is not None:
            vectors = self.temporal(vectors)
        return MDHROutput(self.classifier(vectors), region_logits)

    def features(
        self, clips: Float[Array, "B T H W 3"], rng: PRNGKeyArray | None = None
    ) -> Float[Array, "B*T h w D"]:
        """G of every frame: static plus dynamic features of the whole face (Eq. 6)."""
        batch, frames = clips.shape[:2]
        extracted = self.extract(clips.reshape(batch * frames, *clips.shape[2:]), rng)
        static = self.static_features(extracted.final)
        if self.dynamics is None:
            return static
        scales = tuple(x.reshape(batch, frames, *x.shape[1:]) for x in extracted.scales)
        return static + self.dynamics(scales).reshape(*static.shape[:3], -1)

    def extract(self, images: Float[Array, "F H W 3"], rng: PRNGKeyArray | None = None) -> BackboneFeatures:
        """What the backbone sees in single frames.

        Args:
            images: normalised RGB.
            rng: key of the stochastic depth; without one it is off.
        """
        if isinstance(self.backbone, Swin):
            return self.backbone(images, rng)
        return self.backbone(images)

    def static_features(self, final: Float[Array, "F h w C"]) -> Float[Array, "F h w D"]:
        """The static part of G, from the backbone's last map."""
        if self.static is None:
            return final
        tokens = final.reshape(final.shape[0], -1, final.shape[-1])
        return self.static(tokens).reshape(*final.shape[:3], -1)

    def relate(
        self, features: Float[Array, "F h w C"]
    ) -> tuple[Float[Array, "F N D"], tuple[Float[Array, "F _"], ...]]:
        """AU vectors of single frames after both stages of HSR, and the regions' logits.

        Args:
            features: G of every frame.
        """
        vectors, region_logits = self.local(features)
        if self.graph is not None:
            active = active_aus(self.config.regions, region_logits) if region_logits else None
            vectors = self.graph(vectors, active)
        return vectors, region_logits

    def check_shape(self, shape: tuple[Any, ...]) -> None:
        """Refuses clips that the model cannot take.

        Args:
            shape: of the clips; the number of clips may be a symbol of `jax.export`.

        Raises:
            ValueError: a clip too short, or an image size that the backbone cannot take.
        """
        _, frames, height, width, _ = shape
        if self.dynamics is not None and frames < 2:
            raise ValueError(f"clips must have at least 2 frames for temporal differences, found {frames}")
        for size in (height, width):
            self.config.check_image_size(size)


def _make_backbone(config: MDHRConfig, precision: Precision, rngs: nnx.Rngs) -> ResNet | Swin:
    size, remat = BACKBONES[config.backbone], config.remat_stages if config.remat else ()
    if isinstance(size, ResNetConfig):
        return ResNet(size, remat=remat, precision=precision, rngs=rngs)
    if config.drop_path is not None:
        size = dataclasses.replace(size, drop_path=config.drop_path)
    last_scale = "input" if config.variant == "reference" else "output"
    return Swin(size, last_scale=last_scale, remat=remat, precision=precision, rngs=rngs)
