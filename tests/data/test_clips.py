import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.data import clips
from mdhr_jax.data.records import Video

FRAMES = [50, 16, 40, 9, 33]

STREAM_OF_SEED_123 = [
    (1, 0, True),
    (4, 10, False),
    (2, 12, True),
    (0, 27, False),
    (3, 0, False),
    (2, 19, True),
    (3, 0, True),
]
FIRST_OFFSET = (24, 11)
FIRST_FACTORS = [17034, 13568, 10636]


def video(numbers, name="F001_T1"):
    return Video(
        name=name,
        subject=name.split("_")[0],
        part="part1",
        frame_numbers=np.asarray(numbers, np.int32),
        labels=np.full((len(numbers), 2), facs.UNKNOWN, np.int8),
    )


def test_every_epoch_takes_every_video_as_often_as_asked():
    stream = clips.ClipStream(FRAMES, 16, seed=1, clips_per_video=3)
    assert stream.clips_per_epoch == 15
    orders = []
    for epoch in range(4):
        taken = [stream[p] for p in range(15 * epoch, 15 * epoch + 15)]
        assert sorted(clip.video for clip in taken) == sorted(list(range(5)) * 3)
        assert len(set(taken)) == 15
        orders.append(tuple(clip.video for clip in taken))
    assert len(set(orders)) == 4


def test_a_clip_depends_on_seed_epoch_video_and_copy_alone():
    stream = clips.ClipStream(FRAMES, 16, seed=7, clips_per_video=2)
    drawn = {(clip.video, clip) for clip in (stream[p] for p in range(30, 40))}
    expected = {(v, stream.draw(3, v, copy)) for v in range(5) for copy in range(2)}
    assert drawn == expected
    # Other videos in the set, another order of asking, a fresh stream: the same clip.
    assert clips.ClipStream([50, 99], 16, seed=7).draw(3, 0) == stream.draw(3, 0)
    assert clips.ClipStream(FRAMES, 16, seed=8).draw(3, 0) != stream.draw(3, 0)
    assert len({stream.draw(e, 0, c) for e in range(10) for c in range(10)}) == 100


def test_the_stream_does_not_change_between_versions():
    """Resuming a run with a newer version must go on with the same clips."""
    stream = clips.ClipStream(FRAMES, 16, seed=123)
    assert [
        (stream[p].video, stream[p].start, stream[p].augmentation.flip) for p in range(7)
    ] == STREAM_OF_SEED_123
    first = stream[0].augmentation
    assert first.offset(32) == FIRST_OFFSET
    assert [factor * 2**14 for factor in first.factors] == FIRST_FACTORS


def test_starts_are_uniform_from_the_first_to_the_last_possible():
    stream = clips.ClipStream([20], 16, seed=0)
    starts = np.array([stream[p].start for p in range(2000)])
    counts = np.bincount(starts)
    assert counts.size == 5
    assert np.all(np.abs(counts - 400) < 90)  # five standard deviations
    assert {stream[p].length for p in range(50)} == {16}


def test_short_videos_are_taken_whole():
    stream = clips.ClipStream([9], 16, seed=0)
    assert {(stream[p].start, stream[p].length) for p in range(20)} == {(0, 9)}


def test_augmentation_draws():
    stream = clips.ClipStream([16], 16, seed=0)
    draws = [stream[p].augmentation for p in range(3300)]
    corners = np.array([draw.offset(32) for draw in draws])
    for axis in range(2):
        counts = np.bincount(corners[:, axis])
        assert counts.size == 33
        assert np.all(np.abs(counts - 100) < 50)
    assert abs(np.corrcoef(corners.T)[0, 1]) < 0.1
    assert abs(np.mean([draw.flip for draw in draws]) - 0.5) < 0.05
    factors = np.array([draw.factors for draw in draws])
    assert factors.min() > 0.599
    assert factors.max() < 1.401
    np.testing.assert_allclose(factors.mean(0), 1, atol=0.02)
    np.testing.assert_allclose(factors.std(0), 0.8 / np.sqrt(12), atol=0.01)
    assert np.all(factors * 2**14 == np.round(factors * 2**14))


def test_a_margin_of_nothing():
    assert clips.Augmentation(0.999, 0.5, False, 1.0, 1.0, 1.0).offset(0) == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], 16, 0), "no videos"),
        (([5, 0], 16, 0), "video 1 has no frames"),
        (([5], 0, 0), "clip_length must be at least 1"),
        (([5], 16, -1), "seed must be at least 0"),
        (([5], 16, 0, 0), "clips_per_video must be at least 1"),
    ],
)
def test_stream_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        clips.ClipStream(*arguments)


def test_positions_start_at_zero():
    with pytest.raises(IndexError):
        clips.ClipStream([5], 16, 0)[-1]


def test_windows_end_with_videos_and_at_jumps():
    videos = [video(range(1, 36)), video([*range(1, 11), *range(20, 40)]), video([7])]
    np.testing.assert_array_equal(
        clips.evaluation_windows(videos, 16),
        [(0, 0, 16), (0, 16, 16), (0, 32, 3), (1, 0, 10), (1, 10, 16), (1, 26, 4), (2, 0, 1)],
    )
    np.testing.assert_array_equal(
        clips.evaluation_windows(videos[1:], 16, split_on_jumps=False), [(0, 0, 16), (0, 16, 14), (1, 0, 1)]
    )


def test_a_jump_right_behind_a_full_window_makes_no_extra_one():
    windows = clips.evaluation_windows([video([*range(16), *range(30, 46)])], 16)
    np.testing.assert_array_equal(windows, [(0, 0, 16), (0, 16, 16)])


def test_windows_of_nothing():
    assert clips.evaluation_windows([], 16).shape == (0, 3)
    with pytest.raises(ValueError, match="clip_length"):
        clips.evaluation_windows([], 0)


@pytest.mark.parametrize(
    ("size", "resized", "decoded"), [(224, 256, 256), (112, 128, 128), (64, 73, 128), (128, 146, 256)]
)
def test_edges(size, resized, decoded):
    assert clips.resized_edge(size) == resized
    assert clips.decode_edge(size) == decoded


@pytest.mark.parametrize("size", [0, 256])
def test_edges_out_of_range(size):
    with pytest.raises(ValueError, match="image size of at most 224"):
        clips.decode_edge(size)
