"""What is drawn of a network: numbers equal the model's, and the evaluation's."""

import numpy as np
import pytest
from matplotlib import colormaps

from mdhr_jax import facs
from mdhr_jax.figures import places, relations, weights
from mdhr_jax.figures.network import evenly, open_network
from mdhr_jax.figures.runs import NotApplicableError, open_runs
from mdhr_jax.models.graph import edge_mask
from mdhr_jax.training import workdir

REGIONS = facs.SYNTHETIC_BP4D


@pytest.fixture
def looked(whole_run):
    (run,) = open_runs([whole_run])
    network = open_network(run, None)
    return run, network, network.look(network.default_video)


def test_scores_are_those_of_the_evaluation(looked):
    run, network, shown = looked
    found = run.predictions
    of_video = found.video == found.videos.index(shown.video)
    rows = of_video & np.isin(found.frame_number, shown.frame_number)
    np.testing.assert_allclose(shown.scores, found.scores[rows], atol=2e-6)
    np.testing.assert_array_equal(shown.labels, found.labels[rows])
    np.testing.assert_array_equal(shown.predicted, shown.scores >= 0.5)
    assert network.meta["step"] == found.meta["step"]
    number = [v.name for v in network.records.videos].index(shown.video)
    start = int(np.flatnonzero(network.records.videos[number].frame_numbers == shown.frame_number[0])[0])
    wanted = network.records.read_frames(number, start, start + len(shown.frames), size=shown.frames.shape[1])
    np.testing.assert_array_equal(shown.frames, wanted)


def test_weights_and_attention_are_shares(looked):
    _, network, shown = looked
    assert shown.scale_weights.shape == (8, 2, 2, 4)
    np.testing.assert_allclose(shown.scale_weights.sum(-1), 1, atol=1e-6)
    np.testing.assert_allclose(shown.attention.sum(-1), 1, atol=1e-6)
    own = np.eye(12, dtype=bool)
    allowed = edge_mask(network.model.config.regions, "cross")
    sending = shown.active[:, None] & allowed
    assert (shown.attention[~(sending | own)] == 0).all()
    assert (shown.attention[sending | own] > 0).all()


def test_the_drawn_graph_is_the_frame_with_most_edges(looked):
    _, network, shown = looked
    found = relations.relations(shown, network.model.config.regions)
    assert sorted(found.edges) == sorted(
        (i, j)
        for i in range(12)
        for j in range(12)
        if shown.attention[found.frame, i, j] > 0 and _group(i) != _group(j)
    )
    counts = [sum(1 for i, j in np.argwhere(a > 0) if _group(i) != _group(j)) for a in shown.attention]
    assert len(found.edges) == max(counts) > 0
    values = [found.attention[edge] for edge in found.edges]
    assert values == sorted(values, reverse=True)
    np.testing.assert_array_equal(np.flatnonzero(found.senders), sorted({j for _, j in found.edges}))
    drawn = relations.draw(network, shown, "")
    arrows = [patch for patch in drawn.axes[0].patches if hasattr(patch, "get_arrowstyle")]
    widths = [arrow.get_linewidth() for arrow in arrows][::-1]
    assert len(widths) == len(values)
    share = (np.asarray(values) - values[-1]) / (values[0] - values[-1])
    np.testing.assert_allclose(widths, 0.7 + 3.9 * share, rtol=1e-5)
    colours = [arrow.get_edgecolor() for arrow in arrows][::-1]
    assert colours[0] == colormaps["cividis"](1.0)
    assert colours[-1] == colormaps["cividis"](0.0)
    told = [text.get_text() for text in drawn.axes[0].get_legend().get_texts()]
    assert [f"edge to receiver, {value:.2f}" in told for value in (values[0], values[-1])] == [True, True]
    numbers = [text.get_text() for text in drawn.axes[1].texts]
    assert len(numbers) == (shown.attention[found.frame] > 0).sum()


def _group(column):
    (number,) = (i for i, r in enumerate(REGIONS.regions) if column in REGIONS.columns(r))
    return number


def test_the_drawn_maps_are_the_weights(looked):
    _, network, shown = looked
    drawn = weights.draw(network, shown, "")
    maps = [axes.images[1].get_array() for axes in drawn.axes if len(axes.images) == 2]
    wanted = [shown.scale_weights[t, :, :, scale] for scale in range(4) for t in range(8)]
    np.testing.assert_array_equal(np.stack(maps), np.stack(wanted))
    limits = {axes.images[1].get_clim() for axes in drawn.axes if len(axes.images) == 2}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == 0
    assert high >= shown.scale_weights.max()


@pytest.mark.parametrize(
    ("model", "match"),
    [
        ({"mfd": False}, "no multi-scale"),
        ({"mfd_scales": []}, "no multi-scale"),
        ({"fusion": "sum"}, "'sum'"),
        ({"mfd_scales": [3]}, "scale 3 alone"),
    ],
)
def test_models_without_weights(model, match):
    with pytest.raises(NotApplicableError, match=match):
        weights.check({"mfd": True, "mfd_scales": [1, 2, 3, 4], "fusion": "adaptive"} | model)


def test_data_and_checkpoints_that_are_missing_or_others(whole_run, tmp_path):
    (run,) = open_runs([whole_run])
    with pytest.raises(FileNotFoundError, match=r"frames are not in .*nowhere \(--data\); name their place"):
        open_network(run, tmp_path / "nowhere")
    meta = dict(run.predictions.meta) | {"data_fingerprint": "other"}
    object.__setattr__(run.predictions, "meta", meta)
    with pytest.raises(ValueError, match=r"is not the data set that .* was tested on"):
        open_network(run, None)
    (whole_run / workdir.CHECKPOINTS).rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match="need a checkpoint: no checkpoint"):
        open_network(open_runs([whole_run])[0], None)


def test_another_model_than_the_checkpoints_is_refused(whole_run, changed_config):
    changed_config(whole_run, width=16)
    with pytest.raises(ValueError, match="holds another model"):
        open_network(open_runs([whole_run])[0], None)


def test_every_au_of_the_table_has_a_place_of_its_own():
    for au_set in (facs.BP4D, facs.DISFA):
        found = places.places_in_crop(au_set.aus, {})
        distances = np.linalg.norm(found[:, None] - found[None], axis=-1) + np.eye(len(found))
        assert distances.min() > 0.08
        for region in au_set.regions:
            band = facs.band_rows(region.band, 700)
            heights = 700 * found[list(au_set.columns(region)), 1]
            assert (heights >= band.start - 35).all()
            assert (heights <= band.stop + 35).all()
    strange = places.places_in_crop((1, 97, 98), {"eye_height": 0.4, "eye_distance": 0.2})
    np.testing.assert_allclose(strange[0], [0.5 - 0.2 * 0.22, 0.4 - 0.2 * 0.5])
    assert strange[1][1] < strange[2][1]


@pytest.mark.parametrize(
    ("count", "wanted"), [(3, [0, 1, 2]), (8, list(range(8))), (16, [0, 2, 4, 6, 9, 11, 13, 15])]
)
def test_frames_are_spread_evenly(count, wanted):
    assert list(evenly(count, 8)) == wanted
