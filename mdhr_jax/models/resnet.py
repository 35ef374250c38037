"""Residual networks in torchvision's layout (stride on the 3x3, no convolution biases)."""

import dataclasses

import jax
from flax import nnx
from jaxtyping import Array, Float

from mdhr_jax.models.backbone import BackboneFeatures
from mdhr_jax.models.layers import BatchNorm, Conv, InstanceNorm, Precision
from mdhr_jax.models.operations import max_pool


@dataclasses.dataclass(frozen=True)
class ResNetConfig:
    """Size of a residual network.

    Attributes:
        blocks: residual blocks in each of the four stages.
        width: channels of the stem and of the first stage's 3x3 convolutions.
        bottleneck: 1x1-3x3-1x1 blocks with fourfold output (ResNet-50) instead of two 3x3.
        patch_stem: reduces the image by 4 with one 4x4 convolution of stride 4 instead of torchvision's 7x7
            convolution of stride 2 and max-pooling, which are slow on CPUs.
        instance_norm: normalises each image by itself. Trained from scratch on few faces, batch statistics of
            a handful of clips tell faces apart by colour and light; instance statistics remove both.
    """

    blocks: tuple[int, int, int, int]
    width: int = 64
    bottleneck: bool = False
    patch_stem: bool = False
    instance_norm: bool = False

    @property
    def scale_width(self) -> int:
        """Channels of the first scale."""
        return self.width * (4 if self.bottleneck else 1)

    @staticmethod
    def resnet50() -> "ResNetConfig":
        """ResNet-50, the reference's."""
        return ResNetConfig((3, 4, 6, 3), bottleneck=True)

    @staticmethod
    def resnet18() -> "ResNetConfig":
        """ResNet-18."""
        return ResNetConfig((2, 2, 2, 2))

    @staticmethod
    def tiny() -> "ResNetConfig":
        """For laptops and tests: one block a stage, 16 to 128 channels."""
        return ResNetConfig((1, 1, 1, 1), width=16, patch_stem=True, instance_norm=True)


class ResidualBlock(nnx.Module):
    """One residual block of the kind that the configuration asks for."""

    def __init__(
        self,
        config: ResNetConfig,
        in_channels: int,
        width: int,
        *,
        stride: int,
        precision: Precision,
        rngs: nnx.Rngs,
    ):
        norm = InstanceNorm if config.instance_norm else BatchNorm
        out_channels = width * (4 if config.bottleneck else 1)
        # (kernel, stride, channels) of the convolutions in order.
        plan = (
            ((1, 1, width), (3, stride, width), (1, 1, out_channels))
            if config.bottleneck
            else ((3, stride, width), (3, 1, width))
        )
        convs, norms, channels = [], [], in_channels
        for kernel, step, width_out in plan:
            convs.append(
                Conv(
                    channels,
                    width_out,
                    kernel,
                    stride=step,
                    padding=kernel // 2,
                    precision=precision,
                    rngs=rngs,
                )
            )
            norms.append(norm(width_out, precision=precision))
            channels = width_out
        self.convs, self.norms = nnx.List(convs), nnx.List(norms)
        reshapes = stride != 1 or in_channels != out_channels
        self.shortcut_conv = (
            Conv(in_channels, out_channels, 1, stride=stride, precision=precision, rngs=rngs)
            if reshapes
            else None
        )
        self.shortcut_norm = norm(out_channels, precision=precision) if reshapes else None

    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B h w D"]:
        """Adds the block to its input."""
        y = x
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            y = norm(conv(y))
            if i + 1 < len(self.convs):
                y = jax.nn.relu(y)
        if self.shortcut_conv is not None and self.shortcut_norm is not None:
            x = self.shortcut_norm(self.shortcut_conv(x))
        return jax.nn.relu(x + y)


class ResNet(nnx.Module):
    """Residual network without its classifier; the scales are the outputs of stages 1 to 4.

    Args:
        config: size.
        remat: stages, from 1, whose blocks compute their inside again in the backward pass instead of
            keeping it.
    """

    size_multiple = 32

    def __init__(
        self, config: ResNetConfig, *, remat: tuple[int, ...] = (), precision: Precision, rngs: nnx.Rngs
    ):
        self.remat = remat
        self.scale_width = config.scale_width
        kernel, stride, padding = (4, 4, 0) if config.patch_stem else (7, 2, 3)
        self.pooled_stem = not config.patch_stem
        self.stem_conv = Conv(
            3, config.width, kernel, stride=stride, padding=padding, precision=precision, rngs=rngs
        )
        norm = InstanceNorm if config.instance_norm else BatchNorm
        self.stem_norm = norm(config.width, precision=precision)
        channels, stages = config.width, []
        for stage, num_blocks in enumerate(config.blocks):
            blocks = []
            for block in range(num_blocks):
                blocks.append(
                    ResidualBlock(
                        config,
                        channels,
                        config.width * 2**stage,
                        stride=2 if stage > 0 and block == 0 else 1,
                        precision=precision,
                        rngs=rngs,
                    )
                )
                channels = config.scale_width * 2**stage
            stages.append(nnx.List(blocks))
        self.stages = nnx.List(stages)

    def __call__(self, images: Float[Array, "B H W 3"]) -> BackboneFeatures:
        """Features of normalised images."""
        x = jax.nn.relu(self.stem_norm(self.stem_conv(images)))
        if self.pooled_stem:
            x = max_pool(x)
        scales = []
        for stage, blocks in enumerate(self.stages, start=1):
            for block in blocks:
                x = nnx.remat(ResidualBlock.__call__)(block, x) if stage in self.remat else block(x)
            scales.append(x)
        return BackboneFeatures(tuple(scales), x)
