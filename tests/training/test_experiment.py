import pytest

from mdhr_jax.training.experiment import open_experiment


def test_steps_cover_the_epochs_and_batches_cross_their_ends(config):
    config.train.epochs, config.train.batch_size, config.data.clips_per_video = 10, 8, 3
    config.eval.every_epochs = 4
    experiment = open_experiment(config)
    assert experiment.stream.clips_per_epoch == 4 * 3
    assert experiment.total_steps == 15
    assert [experiment.position(step) for step in (0, 1, 15)] == [0, 8, 120]
    # Epochs 4 and 8 end at positions 48 and 96, after steps 6 and 12.
    assert [step for step in range(16) if experiment.evaluation_due(step)] == [6, 12, 15]
    assert float(experiment.schedule(0)) == pytest.approx(1e-4)
    assert float(experiment.schedule(15)) == pytest.approx(0.0, abs=1e-12)


def test_short_last_batches_are_for_one_device(config):
    config.data.last_batch = "partial"
    with pytest.raises(ValueError, match="found 8 devices"):
        open_experiment(config)


def test_batches_must_fit_the_devices(config):
    config.train.batch_size = 12
    with pytest.raises(ValueError, match=r"train.batch_size is 12.*nearest that fit: 8 or 16"):
        open_experiment(config)
    config.train.batch_size, config.eval.batch_size = 8, 3
    with pytest.raises(ValueError, match=r"^config.eval.batch_size is 3"):
        open_experiment(config)
    config.train.batch_size = 12
    # Both are told, so that the second is not found out only when the first is mended.
    with pytest.raises(ValueError, match=r"train.batch_size is 12.*\n.*eval.batch_size is 3"):
        open_experiment(config)


def test_checkpoints_of_something_else_are_refused(config):
    experiment = open_experiment(config)
    meta = experiment.metadata()
    experiment.check_metadata(meta)
    for key, value in (("au_names", ["AU1"]), ("fold", 2), ("dataset", "disfa"), ("image_size", 96)):
        with pytest.raises(ValueError, match=key):
            experiment.check_metadata(meta | {key: value})
    with pytest.raises(ValueError, match="crop_recipe"):
        experiment.check_metadata(meta | {"crop_recipe": meta["crop_recipe"] | {"eye_height": 0.4}})
    with pytest.raises(ValueError, match=r"model\.variant"):
        experiment.check_metadata(meta | {"model": meta["model"] | {"variant": "paper"}})
