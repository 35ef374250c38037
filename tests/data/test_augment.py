import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance
from skimage import data

from mdhr_jax.data import augment, clips

PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "rocket")


def photographs(edge):
    """(4, 3, edge, edge, 3): each photograph, shifted, and as a negative (dark and bright faces)."""
    out = []
    for name in PHOTOGRAPHS:
        picture = np.asarray(
            Image.fromarray(getattr(data, name)()).resize((edge, edge), Image.Resampling.BICUBIC)
        )
        out.append([picture, np.roll(picture, 9, axis=1), 255 - picture])
    return np.array(out, np.uint8)


def draws(image_size, seed=0):
    stream = clips.ClipStream([1] * len(PHOTOGRAPHS), 1, seed)
    chosen = [stream.draw(0, v).augmentation for v in range(len(PHOTOGRAPHS))]
    margin = clips.resized_edge(image_size) - image_size
    offset = np.array([draw.offset(margin) for draw in chosen], np.int32)
    flip = np.array([draw.flip for draw in chosen])
    return offset, flip, np.array([draw.factors for draw in chosen], np.float32)


def by_pillow(frame, offset, flip, factors, image_size):
    edge = clips.resized_edge(image_size)
    image = Image.fromarray(frame).resize((edge, edge), Image.Resampling.BILINEAR)
    y, x = map(int, offset)
    image = image.crop((x, y, x + image_size, y + image_size))
    if flip:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for enhancer, factor in zip(
        (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color), factors.tolist(), strict=True
    ):
        image = enhancer(image).enhance(factor)
    return np.asarray(image)


def grey_levels(normalised):
    levels = (np.asarray(normalised, np.float64) * augment.IMAGENET_STD + augment.IMAGENET_MEAN) * 255
    rounded = np.round(levels)
    np.testing.assert_allclose(levels, rounded, atol=1e-3)
    return rounded.astype(int)


augment_jit = jax.jit(augment.augment_clips, static_argnames=("image_size", "dtype"))
resize_jit = jax.jit(augment.resize_clips, static_argnames=("image_size", "dtype"))


@pytest.mark.parametrize(("image_size", "seed"), [(224, 0), (224, 1), (224, 2), (112, 0), (96, 1), (160, 0)])
def test_augmentation_equals_pillow(image_size, seed):
    frames = photographs(clips.decode_edge(image_size))
    drawn = draws(image_size, seed)
    found = grey_levels(augment_jit(frames, *drawn, image_size=image_size))
    for clip, offset, flip, factors, ours in zip(frames, *drawn, found, strict=True):
        for frame, our_frame in zip(clip, ours, strict=True):
            np.testing.assert_array_equal(our_frame, by_pillow(frame, offset, flip, factors, image_size))


def test_draws_of_the_test_flip_some_and_clip_both_ways():
    flips = [draws(224, seed)[1] for seed in range(3)]
    factors = np.concatenate([draws(224, seed)[2] for seed in range(3)])
    assert 0 < np.mean(flips) < 1
    assert np.all(factors.min(0) < 0.8)
    assert np.all(factors.max(0) > 1.2)


def test_other_factors_come_within_one_level_of_each_step():
    frames = photographs(256)[:, :1]
    offset, flip, _ = draws(224)
    factors = np.random.default_rng(0).uniform(0.6, 1.4, (4, 3)).astype(np.float32)
    found = grey_levels(augment_jit(frames, offset, flip, factors, image_size=224))
    worst = [
        np.abs(found[b, 0] - by_pillow(frames[b, 0], offset[b], flip[b], factors[b], 224)).max()
        for b in range(4)
    ]
    assert max(worst) <= 3


def test_corners_and_neutral_draw():
    frames = photographs(256)
    offset = np.array([(0, 0), (32, 32), (0, 32), (32, 0)], np.int32)
    plain = augment_jit(frames, offset, np.zeros(4, bool), np.ones((4, 3), np.float32), image_size=224)
    expected = [frames[b, :, y : y + 224, x : x + 224] for b, (y, x) in enumerate(offset)]
    np.testing.assert_array_equal(grey_levels(plain), expected)


@pytest.mark.parametrize(
    ("source", "image_size"), [(256, 224), (256, 160), (128, 112), (128, 64), (128, 32), (256, 256)]
)
def test_resize_equals_pillow(source, image_size):
    frames = photographs(source)
    found = grey_levels(resize_jit(frames, image_size=image_size))
    for clip, ours in zip(frames, found, strict=True):
        for frame, our_frame in zip(clip, ours, strict=True):
            resized = Image.fromarray(frame).resize((image_size, image_size), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(our_frame, np.asarray(resized))


def test_resize_at_extremes_of_contrast():
    """Black and white stripes and noise reach the ends of the 8-bit range."""
    rng = np.random.default_rng(0)
    frames = (rng.integers(0, 2, (1, 2, 256, 256, 3)) * 255).astype(np.uint8)
    frames[0, 1] = 255
    found = grey_levels(resize_jit(frames, image_size=224))
    resized = Image.fromarray(frames[0, 0]).resize((224, 224), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(found[0, 0], np.asarray(resized))
    assert np.all(found[0, 1] == 255)


def test_dtype_and_x64():
    frames = photographs(128)
    drawn = draws(64)
    expected = np.asarray(augment_jit(frames, *drawn, image_size=64))
    assert expected.dtype == np.float32
    half = augment_jit(frames, *drawn, image_size=64, dtype=jnp.bfloat16)
    np.testing.assert_array_equal(half, jnp.asarray(expected, jnp.bfloat16))
    with jax.enable_x64(True):
        found = augment_jit(frames, *drawn, image_size=64)
        wide = augment_jit(frames, *drawn, image_size=64, dtype=jnp.float64)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(grey_levels(wide), grey_levels(expected))


def test_every_clip_has_its_own_draw_and_frames_share_it():
    frames = np.broadcast_to(photographs(128)[:1, :1], (4, 3, 128, 128, 3))
    found = np.asarray(augment_jit(frames, *draws(64), image_size=64))
    np.testing.assert_array_equal(found[:, 0], found[:, 2])
    assert len({clip.tobytes() for clip in found}) == 4


def test_frames_are_never_enlarged():
    small = jnp.zeros((4, 1, 128, 128, 3), jnp.uint8)
    with pytest.raises(ValueError, match="cannot be enlarged to 224"):
        augment.resize_clips(small, image_size=224)
    with pytest.raises(ValueError, match="cannot be enlarged to 256"):
        augment.augment_clips(small, *map(jnp.asarray, draws(224)), image_size=224)


@pytest.mark.parametrize("platform", ["cpu", "cuda", "tpu"])
def test_exports(platform):
    shapes = [
        jax.ShapeDtypeStruct(shape, dtype)
        for shape, dtype in (
            ((2, 3, 128, 128, 3), "uint8"),
            ((2, 2), "int32"),
            ((2,), "bool"),
            ((2, 3), "float32"),
        )
    ]

    @jax.jit
    def both(frames, offset, flip, factors):
        return (
            augment.augment_clips(frames, offset, flip, factors, image_size=64),
            augment.resize_clips(frames, image_size=64),
        )

    exported = jax.export.export(both, platforms=[platform])(*shapes)
    assert [out.shape for out in exported.out_avals] == [(2, 3, 64, 64, 3)] * 2
