"""The fit of the label model: correlations from co-occurrence, and an entry that Python reads back."""

import numpy as np
import pytest

from mdhr_jax.data.synthetic import fit_labels, label_model, latent
from mdhr_jax.data.synthetic.published import PUBLISHED


def test_joint_probability_of_normals():
    # Sheppard: both above their mean with probability 1/4 + asin(r) / (2 pi).
    for correlation in (-0.7, 0.0, 0.3, 0.95):
        wanted = 0.25 + np.arcsin(correlation) / (2 * np.pi)
        assert fit_labels.joint_probability(0.0, 0.0, correlation) == pytest.approx(wanted, abs=1e-6)
    assert fit_labels.joint_probability(1.0, 1.5, 0.0) == pytest.approx(0.158655 * 0.066807, rel=1e-4)


@pytest.mark.parametrize("like", sorted(PUBLISHED))
def test_tetrachoric_correlations_are_those_of_the_published_pairs(like):
    published = PUBLISHED[like]
    correlation = fit_labels.tetrachoric(published)
    np.testing.assert_array_equal(correlation, correlation.T)
    first, second, _ = published.joint_changes[0]
    assert correlation[published.aus.index(first), published.aus.index(second)] > 0.4


def test_the_nearest_correlation_matrix():
    matrix = np.asarray([[1.0, 1.1, 0.0], [1.1, 1.0, 0.6], [0.0, 0.6, 1.0]])
    result = fit_labels.nearest_correlation(matrix)
    np.testing.assert_allclose(np.diag(result), 1.0)
    assert np.linalg.eigvalsh(result).min() > 0.0
    assert np.abs(result - matrix).max() < 0.3
    fine = np.asarray([[1.0, 0.5], [0.5, 1.0]])
    np.testing.assert_allclose(fit_labels.nearest_correlation(fine), fine)


@pytest.mark.parametrize("like", sorted(PUBLISHED))
def test_the_constants_are_those_of_a_fit(like):
    model, published = label_model.MODELS[like], PUBLISHED[like]
    count = len(published.aus)
    assert np.shape(model.loadings) == (len(model.scales) + 2, count)
    np.testing.assert_allclose(np.square(model.loadings).sum(0), 1.0, atol=5e-3)
    mix = np.asarray(model.mix)
    np.testing.assert_array_equal(mix, np.tril(mix))
    np.testing.assert_allclose((mix @ mix.T).diagonal(), 1.0, atol=5e-3)
    assert model.scales == fit_labels.SCALES[like]
    assert model.burst == fit_labels.BURST[like]
    entry = "{" + fit_labels.source_of(like, model) + "}"
    assert eval(entry, {"LabelModel": latent.LabelModel}) == {like: model}


def test_a_wrong_file_is_explained(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(fit_labels, "fit", lambda like, progress: label_model.MODELS[like])
    assert fit_labels.main(["--like", "disfa"]) == 0
    assert capsys.readouterr().out == fit_labels.source_of("disfa", label_model.MODELS["disfa"])
    assert fit_labels.main(["--like", "disfa", "--out", str(tmp_path / "no" / "file")]) == 2
    assert "error: " in capsys.readouterr().err
