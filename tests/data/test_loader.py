import gc
import itertools
import threading
import time

import jax
import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.data import clips, loader, records

LENGTH = 16


@pytest.fixture
def stream(train_records):
    return clips.ClipStream([v.num_frames for v in train_records.videos], LENGTH, seed=5, clips_per_video=2)


def take(count, records_, stream, **options):
    options = {"batch_size": 3, "image_size": 64, "workers": 2, **options}
    with loader.train_batches(records_, stream, **options) as batches:
        return list(itertools.islice(batches, count))


def equal(one, other):
    assert len(one) == len(other)
    for a, b in zip(one, other, strict=True):
        assert a.keys() == b.keys()
        for key in a:
            np.testing.assert_array_equal(a[key], b[key], err_msg=key)
            assert a[key].dtype == b[key].dtype


def test_batches_hold_the_clips_of_the_stream(train_records, stream):
    batches = take(4, train_records, stream, image_size=224)
    assert [int(batch["position"]) for batch in batches] == [3, 6, 9, 12]
    for number, batch in enumerate(batches):
        assert {key: (value.shape, value.dtype.name) for key, value in batch.items()} == {
            "frames": ((3, 16, 256, 256, 3), "uint8"),
            "labels": ((3, 16, 12), "int8"),
            "offset": ((3, 2), "int32"),
            "flip": ((3,), "bool"),
            "factors": ((3, 3), "float32"),
            "position": ((), "int64"),
        }
        for row in range(3):
            clip = stream[3 * number + row]
            video, stop = train_records.videos[clip.video], clip.start + clip.length
            expected = train_records.read_frames(clip.video, clip.start, stop)
            np.testing.assert_array_equal(batch["frames"][row, : clip.length], expected)
            np.testing.assert_array_equal(
                batch["labels"][row, : clip.length], video.labels[clip.start : stop]
            )
            assert tuple(batch["offset"][row]) == clip.augmentation.offset(32)
            assert batch["flip"][row] == clip.augmentation.flip
            assert tuple(batch["factors"][row]) == clip.augmentation.factors


def test_short_videos_are_padded_with_their_last_frame_and_unknown_labels(train_records, stream):
    rows = [
        (batch["frames"][row], batch["labels"][row])
        for batch in take(3, train_records, stream)
        for row in range(3)
        if stream[int(batch["position"]) - 3 + row].video == 1
    ]
    assert len(rows) >= 2
    for frames, labels in rows:
        assert np.all(frames[10:] == frames[9])
        assert np.any(frames[9] != frames[8])
        assert np.all(labels[10:] == facs.UNKNOWN)
        np.testing.assert_array_equal(labels[:10], train_records.videos[1].labels)


@pytest.mark.parametrize(("image_size", "edge", "margin"), [(64, 128, 9), (112, 128, 16), (128, 256, 18)])
def test_other_sizes(train_records, stream, image_size, edge, margin):
    (batch,) = take(1, train_records, stream, image_size=image_size)
    assert batch["frames"].shape[2:] == (edge, edge, 3)
    assert [tuple(o) for o in batch["offset"]] == [stream[p].augmentation.offset(margin) for p in range(3)]


@pytest.mark.parametrize("options", [{"workers": 1}, {"workers": 5}, {"prefetch": 0}, {"prefetch": 7}])
def test_workers_and_prefetch_change_nothing(train_records, stream, options):
    equal(take(6, train_records, stream, **options), take(6, train_records, stream))


@pytest.mark.parametrize("last_batch", ["across", "partial"])
@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_restart_at_any_position_goes_on_with_the_same_batches(train_records, stream, stop, last_batch):
    whole = take(7, train_records, stream, last_batch=last_batch)
    position = int(whole[stop - 1]["position"])
    rest = take(7 - stop, train_records, stream, start_position=position, last_batch=last_batch)
    equal(rest, whole[stop:])


@pytest.mark.parametrize("host_count", [2, 4, 8])
def test_hosts_together_take_what_one_takes(train_records, stream, host_count):
    whole = take(3, train_records, stream, batch_size=8)
    shares = [
        take(3, train_records, stream, batch_size=8, host_index=host, host_count=host_count)
        for host in range(host_count)
    ]
    for number, batch in enumerate(whole):
        for key, value in batch.items():
            parts = [share[number][key] for share in shares]
            if key == "position":
                assert all(part == value for part in parts)
            else:
                assert len({len(part) for part in parts}) == 1
                np.testing.assert_array_equal(np.concatenate(parts), value)


@pytest.mark.parametrize("host_count", [1, 2, 4, 8])
def test_epochs_have_the_same_clips_on_any_number_of_hosts(train_records, host_count):
    # 12 clips an epoch: the second batch of 8 is of two of them.
    stream = clips.ClipStream([v.num_frames for v in train_records.videos], LENGTH, seed=5, clips_per_video=3)
    shares = [
        take(3, train_records, stream, batch_size=8, host_index=host, host_count=host_count)
        for host in range(host_count)
    ]
    drawn = [stream[position] for position in range(24)]
    for epoch in (drawn[:12], drawn[12:]):
        assert sorted(clip.video for clip in epoch) == sorted([0, 1, 2, 3] * 3)
    # What a clip is known by.
    expected = sorted(clip.augmentation.factors for clip in drawn)
    assert len(set(expected)) == 24
    found = [tuple(row) for share in shares for batch in share for row in batch["factors"].tolist()]
    assert sorted(found) == expected


def test_batches_across_epochs_drop_and_repeat_nothing(train_records, stream):
    batches = take(8, train_records, stream)  # 24 clips: three epochs of 8
    assert {len(batch["frames"]) for batch in batches} == {3}
    order = [stream[p].video for p in range(24)]
    for epoch in range(3):
        assert sorted(order[8 * epoch : 8 * epoch + 8]) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_partial_batches_end_with_the_epoch(train_records, stream):
    batches = take(6, train_records, stream, last_batch="partial")
    assert [len(batch["frames"]) for batch in batches] == [3, 3, 2, 3, 3, 2]
    assert [int(batch["position"]) for batch in batches] == [3, 6, 8, 11, 14, 16]
    assert [len(batch["flip"]) for batch in batches] == [3, 3, 2, 3, 3, 2]


@pytest.mark.parametrize(
    ("epochs", "clips_per_epoch", "batch", "across", "partial"),
    [(200, 224, 8, 5600, 5600), (200, 18, 8, 450, 600), (1, 5, 8, 1, 1), (3, 5, 2, 8, 9)],
)
def test_number_of_steps(epochs, clips_per_epoch, batch, across, partial):
    assert loader.steps_total(epochs, clips_per_epoch, batch) == across
    assert loader.steps_total(epochs, clips_per_epoch, batch, "partial") == partial


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "0 clips cannot be shared"),
        ({"host_count": 2}, "3 clips cannot be shared evenly among 2 hosts"),
        ({"host_index": 3, "host_count": 3}, "host 3 of 3"),
        ({"last_batch": "partial", "host_count": 3}, "only one host"),
        ({"start_position": -1}, "start_position"),
        ({"image_size": 256}, "image size of at most 224"),
        ({"workers": 0}, "workers >= 1"),
        ({"prefetch": -1}, "prefetch >= 0"),
    ],
)
def test_numbers_that_do_not_fit(train_records, stream, options, message):
    with pytest.raises(ValueError, match=message):
        take(1, train_records, stream, **options)


def test_a_stream_of_other_videos_is_refused(train_records):
    other = clips.ClipStream([20, 20], LENGTH, 0)
    with pytest.raises(
        ValueError, match=r"other videos \(2 with 40 frames\) than the records hold \(4 with 145"
    ):
        take(1, train_records, other)


def test_evaluation_takes_every_window_once_and_fills_the_last_batch(data_dir):
    opened = records.open_dataset(data_dir, facs.BP4D, facs.PARTS)
    windows = clips.evaluation_windows(opened.videos, LENGTH)
    options = {"clip_length": LENGTH, "batch_size": 4, "image_size": 64}
    batches = list(loader.eval_batches(opened, windows, **options))
    assert len(windows) == 15
    assert {batch["frames"].shape for batch in batches} == {(4, 16, 128, 128, 3)}
    seen = np.concatenate([batch["window"] for batch in batches])
    valid = np.concatenate([batch["frame_valid"] for batch in batches])
    np.testing.assert_array_equal(seen, [*range(15), -1])
    np.testing.assert_array_equal(valid.sum(1), [*windows[:, 2], 0])
    assert np.all(valid[:, :-1] >= valid[:, 1:])
    labels = np.concatenate([batch["labels"] for batch in batches])
    frames = np.concatenate([batch["frames"] for batch in batches])
    assert np.all(labels[15] == facs.UNKNOWN)
    for (video, start, length), clip, given in zip(windows.tolist(), frames, labels, strict=False):
        np.testing.assert_array_equal(given[:length], opened.videos[video].labels[start : start + length])
        assert np.all(given[length:] == facs.UNKNOWN)
        np.testing.assert_array_equal(clip[:length], opened.read_frames(video, start, start + length, 128))
        assert np.all(clip[length:] == clip[length - 1])
    known = sum((video.labels != facs.UNKNOWN).sum() for video in opened.videos)
    assert (labels != facs.UNKNOWN).sum() == known

    shares = [
        list(loader.eval_batches(opened, windows, **options, host_index=h, host_count=2)) for h in range(2)
    ]
    for batch, *parts in zip(batches, *shares, strict=True):
        for key, value in batch.items():
            np.testing.assert_array_equal(np.concatenate([part[key] for part in parts]), value)


def test_windows_that_do_not_fit(train_records):
    with pytest.raises(ValueError, match="a window of 20 frames does not fit in a clip of 16"):
        loader.eval_batches(
            train_records, np.array([[0, 0, 20]]), clip_length=16, batch_size=2, image_size=64
        )


def clip_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("clips")]


def test_threads_end_when_closed(train_records, stream):
    batches = loader.train_batches(train_records, stream, batch_size=2, image_size=64)
    next(batches)
    assert clip_threads()
    batches.close()
    assert not clip_threads()
    with pytest.raises(StopIteration):
        next(batches)
    batches.close()


def test_threads_end_when_forgotten_and_at_the_end(train_records, stream):
    batches = loader.train_batches(train_records, stream, batch_size=2, image_size=64)
    next(batches)
    del batches
    gc.collect()
    assert not clip_threads()
    windows = np.array([[0, 0, 16]])
    finite = loader.eval_batches(train_records, windows, clip_length=16, batch_size=2, image_size=64)
    assert len(list(finite)) == 1
    assert not clip_threads()


def test_an_error_of_a_worker_reaches_the_consumer(train_records, stream, monkeypatch):
    read = records.ClipRecords.read_frames

    def fail(self, video, *args, **options):
        if video == 3:
            raise ValueError("frame 7 of video F007_T10 is not a readable JPEG")
        return read(self, video, *args, **options)

    monkeypatch.setattr(records.ClipRecords, "read_frames", fail)
    batches = loader.train_batches(train_records, stream, batch_size=2, image_size=64)
    with pytest.raises(ValueError, match="F007_T10"):
        list(itertools.islice(batches, 5))
    assert not clip_threads()


def test_a_damaged_record_is_named(train_records, stream, monkeypatch):
    monkeypatch.setattr(records.tfrecord, "_masked_crc", lambda data: 0)
    with pytest.raises(ValueError, match=r"bp4d-part\d\.tfrecord-00000-of-00001 is damaged at byte \d+"):
        take(1, train_records, stream)


def test_no_more_than_the_prefetch_is_prepared(train_records, stream, monkeypatch):
    filled = []
    monkeypatch.setattr(loader, "_fill", lambda records_, batch, row, *clip: filled.append(clip))
    with loader.train_batches(train_records, stream, batch_size=2, image_size=64, prefetch=2) as batches:
        for taken in range(1, 5):
            next(batches)
            deadline = time.monotonic() + 30
            while len(filled) < 2 * (taken + 2) and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.05)
            assert len(filled) == 2 * (taken + 2)


def test_batches_do_not_share_memory(train_records, stream):
    """JAX on CPU may go on using an array that it was given."""
    one, other = take(2, train_records, stream)
    kept = jax.device_put(one)
    copy = jax.tree.map(np.array, one)
    take(3, train_records, stream, start_position=6)
    equal(
        [jax.tree.map(np.asarray, {k: v for k, v in kept.items() if k != "position"})],
        [{k: v for k, v in copy.items() if k != "position"}],
    )
    assert not np.shares_memory(one["frames"], other["frames"])
