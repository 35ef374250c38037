"""Streams and windows equal what model and evaluation give for the same frames, however they are batched."""

import dataclasses
import functools
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from skimage import data

from mdhr_jax import facs
from mdhr_jax.data.augment import resize_clips
from mdhr_jax.data.clips import decode_edge
from mdhr_jax.predict import checkpoint
from mdhr_jax.predict.predictor import make_scorer
from mdhr_jax.predict.scorers import ClipScorer, reduced
from mdhr_jax.predict.streams import StreamScorer
from mdhr_jax.training.evaluate import Evaluator
from mdhr_jax.training.experiment import open_experiment
from tests.predict.conftest import CLIP, SIZE, save_run, small_config

pytestmark = pytest.mark.usefixtures("unoptimized")
EDGE = decode_edge(SIZE, crop_margin=0)
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def trained(run):
    return checkpoint.load(run)


def pictures(count, seed=0, edge=EDGE):
    """Frames that change a little from one to the next."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-40, 41, (count, edge // 8, edge // 8, 3)).cumsum(0) + 128
    return np.kron(steps.clip(0, 255), np.ones((1, 8, 8, 1))).astype(np.uint8)


@functools.cache
def compiled(model, image_size):
    def score(params, batch_stats, images):
        clips = resize_clips(reduced(images, image_size), image_size=image_size)
        return model.predict(params, batch_stats, clips).scores

    return jax.jit(score)


def whole(trained, images):
    """The model's call on all frames as one clip."""
    score = compiled(trained.model, trained.image_size)
    return np.asarray(score(trained.params, trained.batch_stats, images[None]))[0]


def collect(scored, into):
    for one in scored:
        into.setdefault(one.stream, [])
        assert one.index == len(into[one.stream])
        into[one.stream].append(one.scores)


def test_clips_are_those_of_evaluation(synthetic_data, tmp_path):
    """To the same frames evaluation gives the same scores."""
    config = small_config(facs.SYNTHETIC_BP4D)
    config.data.dir = str(synthetic_data)
    experiment = open_experiment(config)
    trained = checkpoint.load(save_run(tmp_path, facs.SYNTHETIC_BP4D))
    weights = jax.device_put((trained.params, trained.batch_stats))
    wanted = Evaluator(experiment).predict(experiment.test_records, *weights)
    scorer, found = ClipScorer(trained, batch=3), {}
    for number, video in enumerate(experiment.test_records.videos):
        for image in experiment.test_records.read_frames(number, 0, video.num_frames, size=EDGE):
            scorer.push(number, image)
            collect(scorer.take(), found)
        scorer.end(number)
    collect(scorer.drain(), found)
    for number in range(len(experiment.test_records.videos)):
        np.testing.assert_allclose(found[number], wanted.scores[wanted.video == number], atol=TOLERANCE)


def test_short_windows_are_filled_up_with_their_last_frame(trained):
    images = pictures(CLIP + 2)
    scorer, found = ClipScorer(trained), {}
    for image in images:
        scorer.push("a", image)
    scorer.end("a")
    collect(scorer.drain(), found)
    padded = np.concatenate([images[CLIP:], np.repeat(images[-1:], CLIP - 2, 0)])
    wanted = np.concatenate([whole(trained, images[:CLIP]), whole(trained, padded)[:2]])
    np.testing.assert_allclose(found["a"], wanted, atol=TOLERANCE)


@pytest.mark.parametrize("batch", [1, 4])
def test_streams_equal_the_model_on_whole_streams(trained, batch):
    """Of many lengths, beginning and ending at different times, some under a name that was used before."""
    rng = np.random.default_rng(1)
    lengths = [2, 9] if batch == 1 else [2, 9, 9, 2, 2, 9]
    streams = {i: pictures(length, seed=i) for i, length in enumerate(lengths)}
    scorer, found, left = StreamScorer(trained, batch), {}, {}
    waiting = list(streams)
    while waiting or left:
        if waiting and (not left or rng.random() < 0.2):
            name = waiting.pop(0)
            left[name] = list(streams[name])
        for name in list(left):
            if rng.random() < 0.7:
                scorer.push(name, left[name].pop(0))
            if not left[name]:
                scorer.end(name)
                del left[name]
            collect(scorer.take(), found)
    collect(scorer.drain(), found)
    assert scorer.drain() == []
    for name, images in streams.items():
        np.testing.assert_allclose(found[name], whole(trained, images), atol=TOLERANCE)


def test_frames_come_out_after_the_look_ahead(trained):
    scorer = StreamScorer(trained, batch=1)
    assert scorer.look_ahead == trained.model.config.neighbors + 2 == 4
    counts = []
    for image in pictures(9):
        scorer.push("a", image)
        counts.append(len(scorer.take()))
    assert counts == [0] * 4 + [1] * 5
    scorer.end("a")
    assert len(scorer.take()) == 4


@pytest.mark.parametrize("clip", [CLIP, 9])
def test_a_picture_alone_is_a_still_clip(trained, clip):
    """As evaluation would fill it up, though the model looks at less; of one frame it says nothing."""
    (image,) = pictures(1)
    trained = dataclasses.replace(trained, clip_length=clip)
    scorer, found = StreamScorer(trained, batch=4), {}
    for name in ("a", "b"):
        scorer.push(name, image)
        scorer.end(name)
    collect(scorer.drain(), found)
    wanted = whole(trained, np.repeat(image[None], clip, 0))[:1]
    for name in ("a", "b"):
        np.testing.assert_allclose(found[name], wanted, atol=TOLERANCE)


@pytest.mark.parametrize("mode", ["stream", "clips"])
def test_of_a_stream_that_is_forgotten_nothing_is_left(trained, mode):
    """Not of one that ended under the same name either, nor of what was being computed; others go on."""
    scorer, found = make_scorer(trained, mode, 4 if mode == "stream" else 1), {}
    mine, other = pictures(11, seed=5), pictures(9)
    for i, image in enumerate(mine):
        scorer.push("a", image)
        if i == 4:
            scorer.end("a")
        if i < 5:
            scorer.push("b", other[i])
    scorer.forget("a")
    collect(scorer.take(), found)
    assert "a" not in found
    for image in other[5:]:
        scorer.push("b", image)
    for image in other:
        scorer.push("a", image)
    for name in ("a", "b"):
        scorer.end(name)
    collect(scorer.drain(), found)
    np.testing.assert_allclose(found["a"], found["b"], atol=TOLERANCE)
    if isinstance(scorer, StreamScorer):
        np.testing.assert_allclose(found["a"], whole(trained, other), atol=TOLERANCE)
        assert sorted(scorer._free) == list(range(len(scorer._pool.position) - 1))


@pytest.mark.parametrize("mode", ["stream", "clips"])
def test_faces_of_two_sizes_do_not_meet_in_a_batch(trained, mode):
    scorer, found = make_scorer(trained, mode, 4), {}
    large, small = pictures(9), pictures(9, edge=64)
    for one, other in zip(large, small, strict=True):
        scorer.push("large", one)
        scorer.push("small", other)
        collect(scorer.take(), found)
    for name in ("large", "small"):
        scorer.end(name)
    collect(scorer.drain(), found)
    alone = make_scorer(trained, mode, 4)
    for image in small:
        alone.push("small", image)
    alone.end("small")
    wanted = {}
    collect(alone.drain(), wanted)
    np.testing.assert_allclose(found["small"], wanted["small"], atol=TOLERANCE)
    assert len(found["large"]) == 9


def test_memory_does_not_grow_with_the_stream(trained):
    scorer = StreamScorer(trained, batch=4)
    images, sizes = pictures(8), set()
    for _ in range(20):
        for image in images:
            scorer.push("a", image)
        scorer.take()
        sizes.add(sum(leaf.nbytes for leaf in jax.tree.leaves(scorer._pool)))
        assert sum(len(stream.frames) for stream in scorer._streams.values()) < 4
    assert len(sizes) == 1


def test_crops_are_reduced_as_stored_pictures_are():
    """A JPEG file decoded at half its size and its crop are the same picture to the model."""
    crop = np.asarray(Image.fromarray(data.astronaut()).resize((256, 256)))
    file = io.BytesIO()
    Image.fromarray(crop).save(file, "JPEG", quality=95)
    with Image.open(file) as image:
        image.draft("RGB", (128, 128))
        stored = np.asarray(image).astype(float)
    crop = jnp.asarray(crop)
    half = np.asarray(reduced(crop, SIZE)).astype(float)
    assert half.shape == stored.shape == (128, 128, 3)
    assert np.abs(half - stored).mean() < 2.0
    np.testing.assert_array_equal(reduced(crop, 224), crop)


def test_modes_that_do_not_exist(trained):
    with pytest.raises(ValueError, match="stream, clips"):
        make_scorer(trained, "both")
    with pytest.raises(ValueError, match="at least 1"):
        make_scorer(trained, "stream", 0)
    with pytest.raises(ValueError, match="at least 1"):
        make_scorer(trained, "clips", 0)
