"""Which runs may stand in one table, and which of several runs of a row is used."""

import numpy as np

from mdhr_jax.report import collect, studies
from mdhr_jax.training import predictions
from tests.report import made_runs


def sort(root):
    found = collect.collect(root)
    return {run.path: run for run in found}, studies.sort(found)


def test_runs_that_differ_in_recipe_data_version_or_weights_are_different_studies(tmp_path):
    def config(**changes):
        return made_runs.config_of("3", "afe", **changes)

    made_runs.finish(tmp_path / "usual", config())
    made_runs.finish(tmp_path / "usual2", config(fold=2))
    made_runs.finish(tmp_path / "other_row", made_runs.config_of("3", "mfd"))
    made_runs.finish(tmp_path / "long", config(train__epochs=41))
    made_runs.finish(tmp_path / "full", config(scale="full"))
    made_runs.finish(tmp_path / "random", config(scale="full", model__pretrained="none"))
    made_runs.finish(tmp_path / "moved", config(data__dir="elsewhere", fold=3))
    other_bytes = made_runs.finish(tmp_path / "other_bytes", config())
    path = other_bytes / "predictions.npz"
    found = predictions.read(path)
    path.write_bytes(
        predictions.encode(
            made_runs.dataclasses.replace(found, meta={**found.meta, "data_fingerprint": "9" * 64})
        )
    )
    old = made_runs.finish(tmp_path / "old", config(seed=1))
    made_runs.save(old, config(seed=1), versions={"mdhr_jax": "0.0.1"})
    new = made_runs.finish(tmp_path / "new", config(seed=2))
    made_runs.save(new, config(seed=2))
    runs, ordered = sort(tmp_path)
    together = [sorted(p for p, run in runs.items() if run.id in study.places) for study in ordered.studies]
    assert ["full"] in together
    assert ["random"] in together
    assert ["long"] in together
    assert ["old"] in together
    assert ["other_bytes"] in together
    assert len(together) == 7
    by_run = {name: study for study, names in zip(ordered.studies, together, strict=True) for name in names}
    assert by_run["full"].departures == ()
    assert by_run["full"].scale == "full"
    assert by_run["random"].departures == ('model.pretrained: "none" here, "" there',)
    assert by_run["long"].departures == ("train.epochs: 41 here, 40 there",)
    # Two versions are there, so that runs without their checkpoints may be of either, and stand apart.
    assert together.count(["new"]) == 1
    assert ["moved", "other_row", "usual", "usual2"] in together


def test_what_does_not_know_its_version_stands_with_the_only_one_there_is(tmp_path):
    for fold in (1, 2):
        config = made_runs.config_of("3", "afe", fold=fold)
        directory = made_runs.finish(tmp_path / str(fold), config)
        if fold == 1:
            made_runs.save(directory, config)
    made_runs.start(tmp_path / "3", made_runs.config_of("3", "afe", fold=3))
    _, ordered = sort(tmp_path)
    (study,) = ordered.studies
    assert len(study.places) == 3
    assert study.recipe["version of mdhr_jax"] == "0.1.0"


def test_a_finetuned_row_stands_with_the_others_of_its_data(tmp_path):
    made_runs.finish(tmp_path / "plain", made_runs.config_of("2", "resnet50"))
    argument = "table=2,row=resnet50-bp4d,scale=laptop,init_from=somewhere"
    made_runs.finish(tmp_path / "tuned", made_runs.plan.load_config(made_runs.plan.config_file(), argument))
    _, ordered = sort(tmp_path)
    (study,) = ordered.studies
    assert study.dataset == "synthetic_disfa"
    rows = {name for place in study.places.values() for name in place.rows}
    assert rows == {("2", "resnet50"), ("2", "resnet50-bp4d")}
    assert study.departures == ()


def test_rows_that_are_the_same_model_share_its_runs(tmp_path):
    made_runs.finish(tmp_path / "r", made_runs.config_of("4", "baseline"))
    _, ordered = sort(tmp_path)
    (place,) = ordered.studies[0].places.values()
    assert place.rows == (("3", "afe"), ("4", "baseline"))


def test_protocols_and_unusual_shares_are_arms_of_one_study(tmp_path):
    for name, changes in (
        ("a", {}),
        ("b", {"protocol": "honest"}),
        ("c", {"protocol": "honest", "eval__validation_share": 0.3}),
    ):
        made_runs.finish(tmp_path / name, made_runs.config_of("3", "afe", **changes))
    runs, ordered = sort(tmp_path)
    (study,) = ordered.studies
    assert study.arms == ("paper", "honest", "honest, share 0.3")
    for arm, name in zip(study.arms, "abc", strict=True):
        assert study.used[arm]["tiny+afe"] == {(0, 1): runs[name]}


def test_of_copies_the_first_is_used_and_of_contradictions_none(tmp_path):
    copied, differing = made_runs.config_of("3", "afe"), made_runs.config_of("3", "mfd")
    for name in ("b", "a"):
        made_runs.finish(tmp_path / name, copied)
    made_runs.fail(tmp_path / "c", copied)
    made_runs.finish(tmp_path / "d", differing)
    made_runs.finish(tmp_path / "e", differing, skill=1.1)
    runs, ordered = sort(tmp_path)
    (study,) = ordered.studies
    assert study.used == {"paper": {"tiny+afe": {(0, 1): runs["a"]}}}
    assert {path: ordered.reasons.get(run.id) for path, run in runs.items()} == {
        "a": None,
        "b": "a copy of R1, which is used",
        "c": "exit code 3; R1 is the same run, finished, and is used",
        "d": "R4, R5 are different results of the same row, fold and seed: none is used",
        "e": "R4, R5 are different results of the same row, fold and seed: none is used",
    }


def test_a_model_of_no_row_is_in_no_study(tmp_path):
    config = made_runs.config_of("3", "afe")
    config.model.tcn = True
    made_runs.finish(tmp_path / "r", config)
    runs, ordered = sort(tmp_path)
    assert ordered.studies == ()
    assert ordered.reasons == {"R1": "tiny+afe+tcn on synthetic_bp4d is in no table's row"}
    assert np.isfinite(runs["r"].outcome.values["f1"]).all()
