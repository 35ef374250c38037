"""The streaming model gives what the model's call on the whole stream as one clip gives."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.models import mdhr
from mdhr_jax.models.functional import FunctionalModel
from mdhr_jax.models.mdhr import MDHRConfig
from mdhr_jax.models.streaming import StreamingModel, look_ahead
from mdhr_jax.models.swin import SwinConfig
from tests import tiny

EXACT = {"dtype": "float64", "param_dtype": "float64"}
PLACES = 4

pytestmark = pytest.mark.usefixtures("unoptimized")

CONFIGS = {
    "full": {},
    "paper, two scales side by side": {
        "variant": "paper",
        "neighbors": 3,
        "fusion": "concat",
        "mfd_scales": (1, 4),
        "au_set": facs.DISFA,
    },
    "paper, sum, k = 1": {"variant": "paper", "fusion": "sum", "neighbors": 1, "dense_graph": True},
    "one scale, no convolution": {"mfd_scales": (3,), "tcn": False, "edges": "local"},
    "no dynamics": {"mfd": False, "edges": "full", "aux": False},
    "backbone": {"mfd": False, "afe": False, "aux": False, "crm": False, "tcn": False},
}


@functools.cache
def compiled(config):
    streaming = StreamingModel(tiny.model(config))
    return streaming, jax.jit(streaming.step), jax.jit(tiny.model(config).predict)


def streamed(config, clips, plan, state=None):
    """Scores of streams that are given to the model by a plan: a list of (frames, places behind the end)."""
    streaming, step, _ = compiled(config)
    weights = tiny.weights(config)
    streams, total = clips.shape[:2]
    state = streaming.init(streams, clips.shape[2]) if state is None else state
    taken = np.zeros(streams, np.int32)
    ended = np.zeros(streams, np.int32)
    scores = np.full((streams, total, config.au_set.num_aus), np.nan)
    for i, (real, behind) in enumerate(plan):
        real, behind = (np.broadcast_to(np.asarray(n, np.int32), streams) for n in (real, behind))
        frames = np.full((streams, PLACES, *clips.shape[2:]), 1e3)
        for s in range(streams):
            frames[s, : real[s]] = clips[s, taken[s] : taken[s] + real[s]]
        fresh = np.full(streams, i == 0)
        state, found = step(*weights, state, jnp.asarray(frames), real, behind, fresh)
        for s in range(streams):
            for j in range(real[s] + behind[s]):
                number = taken[s] + ended[s] + j - streaming.look_ahead
                if 0 <= number < total:
                    scores[s, number] = found[s, j]
        taken, ended = taken + real, ended + behind
    assert (taken == total).all()
    assert (ended == streaming.look_ahead).all()
    return scores, state


def chunks(total, behind, size=PLACES):
    """A plan that fills every chunk but the last."""
    plan = []
    while total or behind:
        real = min(size, total)
        after = min(size - real, behind)
        plan.append((real, after))
        total, behind = total - real, behind - after
    return plan


def of_clips(config, clips):
    return np.asarray(compiled(config)[2](*tiny.weights(config), clips).scores)


@pytest.mark.parametrize("name", CONFIGS)
def test_streams_equal_whole_clips(name, float64):
    """Both ends included, and however the frames come: whole chunks, then one by one from the used state."""
    config = tiny.config(**({"au_set": tiny.TWO_AUS} | EXACT | CONFIGS[name]))
    clips = tiny.clips(frames=11).astype(jnp.float64)
    wanted = of_clips(config, clips)
    assert np.ptp(wanted, axis=1).max() > 1e-3
    ahead = look_ahead(config)
    found, state = streamed(config, clips, chunks(11, ahead))
    np.testing.assert_allclose(found, wanted, atol=1e-9, rtol=0)
    # Another video with what the first left behind.
    other = clips[:, ::-1]
    found, _ = streamed(config, other, [(1, 0)] * 11 + [(0, 1)] * ahead, state)
    np.testing.assert_allclose(found, of_clips(config, other), atol=1e-9, rtol=0)


def test_the_other_backbone(monkeypatch):
    swin = SwinConfig((1, 1, 1, 1), (1, 1, 1, 1), width=8, drop_path=0.0)
    monkeypatch.setitem(mdhr.BACKBONES, "swin_smallest", swin)
    config = tiny.config(au_set=tiny.TWO_AUS, backbone="swin_smallest")
    clips = tiny.clips(frames=5, size=224, batch=1)
    found, _ = streamed(config, clips, chunks(5, look_ahead(config)))
    np.testing.assert_allclose(found, of_clips(config, clips), atol=2e-5)


def test_streams_of_a_batch_do_not_know_of_each_other(float64):
    """One pauses while the other goes on, and they end at different times."""
    config = tiny.config(tiny.TWO_AUS, **EXACT)
    clips = tiny.clips(frames=6).astype(jnp.float64)
    plan = [((3, 0), 0), ((0, 4), 0), ((3, 1), (1, 0)), ((0, 1), (3, 3)), ((0, 0), (0, 1))]
    found, _ = streamed(config, clips, plan)
    np.testing.assert_allclose(found, of_clips(config, clips), atol=1e-9, rtol=0)


def test_what_a_stream_left_behind_does_not_matter(float64):
    """Not even what is no number."""
    config = tiny.config(tiny.TWO_AUS, variant="paper", **EXACT)
    clips = tiny.clips(frames=5).astype(jnp.float64)
    state = StreamingModel(tiny.model(config)).init(2, tiny.SIZE)
    dirty = jax.tree.map(lambda x: x + 7 if x.dtype == jnp.int32 else jnp.full_like(x, jnp.nan), state)
    plan = chunks(5, look_ahead(config))
    found, _ = streamed(config, clips, plan, dirty)
    np.testing.assert_array_equal(found, streamed(config, clips, plan)[0])


@pytest.mark.parametrize("variant", ["reference", "paper"])
def test_dependence_ends_at_the_look_ahead(variant, float64):
    """Scores of a frame change with the frame that is `look_ahead` after it, and with none later."""
    config = tiny.config(tiny.TWO_AUS, variant=variant, crm=False, **EXACT)
    ahead = look_ahead(config)
    assert ahead == 4
    clips = tiny.clips(frames=11, batch=1).astype(jnp.float64)
    other = clips.at[:, 8:].set(-clips[:, 8:])
    change = np.abs(of_clips(config, clips) - of_clips(config, other)).max((0, 2))
    assert change[: 8 - ahead].max() < 1e-12
    assert change[8 - ahead] > 1e-9


def test_state_does_not_depend_on_the_length_of_the_stream():
    config = MDHRConfig(facs.BP4D)
    streaming = StreamingModel(FunctionalModel.create(config))
    assert streaming.look_ahead == 7
    state = jax.eval_shape(lambda: streaming.init(1, 224))
    size = sum(np.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    assert size < 24 * 2**20
    with pytest.raises(ValueError, match="multiples of 32"):
        streaming.init(1, 100)
