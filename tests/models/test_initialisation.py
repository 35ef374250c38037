"""Where every parameter starts, by its path: the reference's draws, and PyTorch's where it names none."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from mdhr_jax import facs
from mdhr_jax.models import layers
from mdhr_jax.models.functional import flatten
from mdhr_jax.models.mdhr import MDHRConfig
from mdhr_jax.models.swin import Swin, SwinConfig
from tests import tiny

WIDTH = 32
NORM = r".*norm(s\.\d|\d)?"
MFD_CONV = r"dynamics\.(convs\.\d|squeeze_convs\.\d|weight_conv|projection)"
BLOCK = r"(static|local\.(region_blocks|extractors)\.\d)\.linear"
SWIN_LINEAR = r"backbone\.stages\.\d\.\d+\.(attention\.(qkv|proj)|fc\d)"


def fan_in(kernel):
    return 1 / np.sqrt(np.prod(kernel[:-1]))


def fan_out(kernel):
    return np.sqrt(2 / (kernel[0] * kernel[1] * kernel[3]))


# Path, distribution, and its bound (uniform), standard deviation (normal) or value (constant), which may
# depend on the shape of the kernel that lies beside.
TABLE = [
    (r"backbone\.(stem_conv|stages\.\d\.\d\.(convs\.\d|shortcut_conv))\.kernel", "normal", fan_out),
    (r"backbone\.patch_embed\.(kernel|bias)", "uniform", fan_in),
    (rf"{SWIN_LINEAR}\.kernel", "normal", 0.02),
    (rf"{SWIN_LINEAR}\.bias", "constant", 0),
    (r"backbone\.stages\.\d\.\d+\.attention\.bias_table", "normal", 0.02),
    (r"backbone\.mergings\.\d\.reduction\.kernel", "normal", 0.02),
    (rf"{MFD_CONV}\.kernel", "normal", fan_out),
    (rf"{MFD_CONV}\.bias", "uniform", fan_in),
    (rf"{BLOCK}\.kernel", "normal", np.sqrt(2 / WIDTH)),
    (rf"{BLOCK}\.bias", "uniform", fan_in),
    (r"local\.(classifiers|extractors)\.\d\.(kernel|bias)", "uniform", fan_in),
    (r"graph\.(linear\.kernel|(receiver|sender)_vector)", "uniform", np.sqrt(6 / (WIDTH + WIDTH))),
    (r"graph\.bias", "constant", 0),
    (r"temporal\.(kernel|bias)", "uniform", np.sqrt(1 / 5)),
    (r"classifier\.prototypes", "uniform", np.sqrt(6 / (12 + WIDTH))),
    (rf"{NORM}\.(scale|var)", "constant", 1),
    (rf"{NORM}\.(bias|mean|num_batches)", "constant", 0),
]


def rows_of(path):
    return [row for row in TABLE if re.fullmatch(row[0], path)]


@pytest.mark.parametrize("variant", ["reference", "paper"])
@pytest.mark.parametrize(
    ("au_set", "backbone"), [(facs.BP4D, "resnet50"), (facs.DISFA, "swin_base"), (facs.BP4D, "tiny")]
)
def test_every_path_of_the_models_is_in_one_row(au_set, backbone, variant):
    params, batch_stats = tiny.shapes(MDHRConfig(au_set, backbone=backbone, variant=variant))
    found = {path: len(rows_of(path)) for path in params | batch_stats}
    assert {path: count for path, count in found.items() if count != 1} == {}


@pytest.fixture(scope="module")
def drawn():
    """Initial values by path, of several models one after the other."""
    key = jax.random.key(0, impl="rbg")  # Compiles faster than the default one.
    precision, size = layers.Precision(), SwinConfig((1, 0, 0, 0), (2, 1, 1, 1), width=WIDTH, drop_path=0.1)
    swin = Swin(size, last_scale="input", precision=precision, rngs=nnx.Rngs(params=key))
    arrays = [{f"backbone.{path}": array for path, array in flatten(nnx.state(swin, nnx.Param)).items()}]
    for variant in ("reference", "paper"):
        arrays += tiny.model(tiny.config(width=WIDTH, variant=variant)).init(key)
    return arrays


def value_of(scale, kernel):
    return scale(kernel.shape) if callable(scale) else scale


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_initial_values_have_the_distribution_of_their_row(row, drawn):
    pattern, kind, scale = row
    unscaled = []
    for arrays in drawn:
        for path in arrays:
            if re.fullmatch(pattern, path):
                values = np.ravel(np.asarray(arrays[path], float))
                kernel = arrays.get(f"{path.rpartition('.')[0]}.kernel")
                unscaled.append(values if kind == "constant" else values / value_of(scale, kernel))
    assert unscaled
    if kind == "constant":
        assert set(np.concatenate(unscaled)) == {scale}
        return
    expected = {"uniform": stats.uniform(-1, 2), "normal": stats.norm()}[kind]
    for values in unscaled:
        assert stats.kstest(values, expected.cdf).pvalue > 1e-5
        assert kind == "normal" or np.abs(values).max() <= 1 + 1e-6
    assert stats.kstest(np.concatenate(unscaled), expected.cdf).pvalue > 1e-3


def test_the_truncated_normal_ends_at_an_absolute_value():
    draw = layers.truncated_normal(1.0, cut=0.5)(jax.random.key(0), (5000,), jnp.float32)
    assert 0.49 < np.abs(draw).max() <= 0.5
