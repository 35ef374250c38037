import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from mdhr_jax import facs
from mdhr_jax.models import mdhr
from mdhr_jax.models.functional import unflatten
from mdhr_jax.models.layers import BatchNorm
from mdhr_jax.models.mdhr import MDHR, MDHRConfig
from mdhr_jax.models.swin import SwinConfig
from tests import tiny


def count(config):
    return sum(array.size for array in tiny.shapes(config)[0].values())


@pytest.mark.parametrize(
    ("au_set", "backbone", "expected"),
    [
        (facs.BP4D, "resnet50", 93_226_054),
        (facs.BP4D, "swin_base", 108_148_926),
        (facs.DISFA, "resnet50", 91_090_984),
        (facs.DISFA, "swin_base", 106_013_856),
    ],
)
def test_as_many_parameters_as_the_reference(au_set, backbone, expected):
    assert count(MDHRConfig(au_set, backbone=backbone)) == expected


def run(config, frames=3, size=tiny.SIZE):
    """Output and updated statistics of a step's forward pass."""
    forward = jax.jit(lambda clips: tiny.model(config).train(*tiny.weights(config), clips, None))
    return forward(tiny.clips(frames, size))


def outline(config, frames=3, size=tiny.SIZE):
    """Shapes of the output; nothing is computed."""
    params, stats = tiny.shapes(config)
    clips = jax.ShapeDtypeStruct((2, frames, size, size, 3), jnp.float32)
    return jax.eval_shape(lambda p, s, c: tiny.model(config).train(p, s, c, None)[0], params, stats, clips)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"variant": "paper"},
        {"mfd": False},
        {"mfd_scales": ()},
        {"tcn": False},
        {"crm": False},
        {"aux": False, "crm": False},
        {"afe": False, "aux": False, "crm": False},
        {"aux": False, "edges": "full"},
        {"edges": "local"},
        {"edges": "cross"},
        {"fusion": "concat", "variant": "paper"},
        {"fusion": "sum", "mfd_scales": (2, 3)},
        {"dense_graph": True},
        {"mfd": False, "afe": False, "aux": False, "crm": False, "tcn": False},
        {"variant": "paper", "afe": False, "aux": False, "crm": False},
    ],
)
def test_every_switch_builds_a_working_model(changes):
    config = tiny.config(**changes)
    output, _ = run(config)
    assert output.scores.shape == (2, 3, 12)
    scores = np.asarray(output.scores)
    assert np.isfinite(scores).all()
    # Without ReLU before the classifier a cosine can be negative; it never leaves [-1, 1].
    assert np.abs(scores).max() <= 1 + 1e-5
    expected = [r.num_combinations for r in config.regions.regions] if config.aux else []
    assert [logits.shape for logits in output.region_logits] == [(6, n) for n in expected]


def test_groups_of_clips_are_normalised_like_batches_of_their_own(float64):
    changes = {"dtype": "float64", "param_dtype": "float64"}
    grouped, alone = tiny.config(batch_norm_groups=2, **changes), tiny.config(**changes)
    clips = tiny.clips().astype(jnp.float64)
    weights = tiny.weights(grouped)
    output, stats = jax.jit(lambda c: tiny.model(grouped).train(*weights, c, None))(clips)
    forward = jax.jit(lambda c: tiny.model(alone).train(*weights, c, None))
    parts = [forward(clips[i : i + 1]) for i in range(2)]
    scores = np.concatenate([part.scores for part, _ in parts])
    np.testing.assert_allclose(output.scores, scores, atol=1e-12)
    assert np.abs(output.scores - forward(clips)[0].scores).max() > 1e-4
    for name, array in stats.items():
        np.testing.assert_allclose(array, parts[0][1][name], rtol=1e-12, atol=1e-14, err_msg=name)
    with pytest.raises(ValueError, match="3 clips cannot be normalised"):
        tiny.model(grouped).train(*weights, jnp.concatenate([clips, clips[:1]]), None)


def test_groups_reach_every_batch_normalisation():
    model = nnx.eval_shape(
        lambda: MDHR(MDHRConfig(facs.DISFA, backbone="resnet18", batch_norm_groups=4), rngs=nnx.Rngs(0))
    )
    norms = [module for _, module in nnx.iter_modules(model) if isinstance(module, BatchNorm)]
    assert len(norms) > 30
    assert {norm.groups for norm in norms} == {4}


def test_modules_that_are_off_have_no_parameters():
    names = {m: {n.split(".")[0] for n in tiny.shapes(tiny.config(**{m: False}))[0]} for m in ("mfd", "tcn")}
    assert "dynamics" not in names["mfd"]
    assert "temporal" not in names["tcn"]
    assert "dynamics" in names["tcn"]
    assert tiny.shapes(tiny.config(mfd=False))[0].keys() == tiny.shapes(tiny.config(mfd_scales=()))[0].keys()
    assert not [n for n in tiny.shapes(tiny.config(aux=False, edges="full"))[0] if "classifiers" in n]
    assert not [n for n in tiny.shapes(tiny.config(crm=False))[0] if n.startswith("graph")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "vgg"}, "expected one of resnet50"),
        ({"variant": "mine"}, "expected one of reference, paper"),
        ({"fusion": "max"}, "adaptive, sum, concat"),
        ({"edges": "none"}, "full, local, cross"),
        ({"neighbors": 0}, "at least 1"),
        ({"mfd_scales": (1, 5)}, "distinct scales"),
        ({"mfd_scales": (1, 1)}, "distinct scales"),
        ({"mfd_scales": (2, 1)}, "ascending"),
        ({"afe": False}, "aux without model.afe"),
        ({"afe": False, "aux": False}, "crm without model.afe"),
        ({"aux": False}, "needs model.aux"),
        ({"drop_path": 0.1}, "Swin"),
        ({"dtype": "int8"}, "model.dtype"),
        ({"dtype": "float64"}, "JAX_ENABLE_X64"),
    ],
)
def test_nonsense_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        MDHRConfig(**({"au_set": facs.BP4D, "backbone": "tiny"} | changes))


def test_backbone_names_do_not_depend_on_case():
    assert MDHRConfig(facs.BP4D, backbone="ResNet50") == MDHRConfig(facs.BP4D)


@pytest.mark.parametrize(("backbone", "size"), [("tiny", 96), ("tiny", 128), ("resnet18", 160)])
def test_other_image_sizes(backbone, size):
    config = MDHRConfig(facs.DISFA, backbone=backbone, width=8)
    output = outline(config, size=size)
    assert output.scores.shape == (2, 3, 8)


@pytest.mark.parametrize(
    ("backbone", "size", "message"),
    [("tiny", 100, "multiples of 32"), ("tiny", 32, "at least 64"), ("swin_tiny", 256, "multiples of 224")],
)
def test_impossible_image_sizes_are_refused(backbone, size, message):
    with pytest.raises(ValueError, match=message):
        outline(MDHRConfig(facs.DISFA, backbone=backbone, width=8), size=size)


@pytest.mark.parametrize("frames", [2, 5])
@pytest.mark.parametrize("neighbors", [1, 8])
@pytest.mark.parametrize("variant", ["reference", "paper"])
def test_any_length_and_any_number_of_neighbours(frames, neighbors, variant):
    output = outline(tiny.config(neighbors=neighbors, variant=variant), frames=frames)
    assert output.scores.shape == (2, frames, 12)


def test_a_single_frame_has_no_dynamics():
    with pytest.raises(ValueError, match="at least 2 frames"):
        run(tiny.config(), frames=1)
    assert run(tiny.config(mfd=False), frames=1)[0].scores.shape == (2, 1, 12)


def test_no_gradient_flows_through_the_activation_of_the_graph():
    config = tiny.config()
    params, stats = tiny.weights(config)

    @jax.jit
    @jax.grad
    def grads(params):
        return tiny.model(config).train(params, stats, tiny.clips(), None)[0].scores.sum()

    heads = {name: g for name, g in grads(params).items() if "local.classifiers" in name}
    assert heads
    assert all((g == 0).all() for g in heads.values())


def test_evaluation_is_deterministic_and_uses_running_statistics():
    config = tiny.config(facs.DISFA)
    params, stats = tiny.weights(config)
    trained, new_stats = run(config)
    predict = jax.jit(tiny.model(config).predict)
    first = predict(params, stats, tiny.clips())
    np.testing.assert_array_equal(first.scores, predict(params, stats, tiny.clips()).scores)
    assert np.abs(first.scores - trained.scores).max() > 1e-4
    assert all((new_stats[n] == 1).all() for n in stats if n.endswith("num_batches"))
    # Alone or beside another clip, a clip scores the same in evaluation.
    np.testing.assert_allclose(predict(params, stats, tiny.clips()[:1]).scores[0], first.scores[0], atol=1e-5)


def test_the_functional_form_equals_the_module():
    config = tiny.config(facs.DISFA)
    params, stats = tiny.weights(config)
    model = tiny.model(config)
    module = nnx.merge(model.eval_graph, unflatten(params), unflatten(stats))
    assert isinstance(module, MDHR)
    expected = jax.jit(model.predict)(params, stats, tiny.clips()).scores
    np.testing.assert_allclose(module(tiny.clips()).scores, expected, atol=1e-6)


def test_initialisation_is_a_function_of_the_key():
    config = MDHRConfig(facs.DISFA, backbone="tiny", width=8, mfd=False)
    init = jax.jit(tiny.model(config).init)
    first, again, other = init(jax.random.key(0)), init(jax.random.key(0)), init(jax.random.key(1))
    assert first[0].keys() == tiny.shapes(config)[0].keys()
    for name, array in first[0].items():
        np.testing.assert_array_equal(array, again[0][name])
    assert np.abs(first[0]["classifier.prototypes"] - other[0]["classifier.prototypes"]).max() > 1e-3


def test_bfloat16_keeps_parameters_and_statistics_in_float32():
    config = tiny.config(dtype="bfloat16")
    output, stats = run(config)
    assert {a.dtype for a in tiny.shapes(config)[0].values()} == {jnp.dtype("float32")}
    assert {a.dtype for n, a in stats.items() if "num_batches" not in n} == {jnp.dtype("float32")}
    assert output.scores.dtype == jnp.float32


@pytest.mark.slow
@pytest.mark.parametrize(("backbone", "size"), [("tiny", 64), ("swin_small", 224)])
def test_recomputing_blocks_changes_no_result(backbone, size, monkeypatch):
    small = SwinConfig((1, 1, 2, 1), (1, 1, 1, 1), width=8, drop_path=0.2)
    monkeypatch.setitem(mdhr.BACKBONES, "swin_small", small)

    def results(**changes):
        config = tiny.config(backbone=backbone, **changes)
        params, stats = tiny.weights(config)

        def loss(params, clips):
            output, new_stats = tiny.model(config).train(params, stats, clips, jax.random.key(1))
            return jnp.sum(output.scores**2), new_stats

        (value, new_stats), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(
            params, tiny.clips(2, size, batch=1)
        )
        return {"value": value} | new_stats | grads

    stages = (1, 2, 3, 4) if backbone == "tiny" else (1, 3)
    kept, recomputed = results(), results(remat=True, remat_stages=stages)
    assert kept.keys() == recomputed.keys()
    for name, array in kept.items():
        tolerance = 1e-4 * (1 + np.abs(array).max())
        np.testing.assert_allclose(recomputed[name], array, atol=tolerance, err_msg=name)
