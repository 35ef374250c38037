import dataclasses
import json
import shutil
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from mdhr_jax import facs
from mdhr_jax.data import aligned, records


def jpegs(tree, name):
    video = next(v for v in aligned.read_tree(facs.BP4D, tree).videos if v.name == name)
    return list(video.jpegs())


def test_videos_come_in_the_order_of_the_parts_asked_for(data_dir):
    names = {
        parts: [v.name for v in records.open_dataset(data_dir, facs.BP4D, parts).videos]
        for parts in (("part1", "part3"), ("part3", "part1"), ("part2",))
    }
    assert names["part1", "part3"] == ["F001_T1", "F001_T2", "F007_T2", "F007_T10"]
    assert names["part3", "part1"] == ["F007_T2", "F007_T10", "F001_T1", "F001_T2"]
    assert names["part2",] == ["M011_T1"]


def test_labels_and_numbers_are_those_of_the_tree(aligned_tree, train_records):
    tree = {video.name: video for video in aligned.read_tree(facs.BP4D, aligned_tree).videos}
    for video in train_records.videos:
        source = tree[video.name]
        assert (video.subject, video.part) == (source.subject, source.part)
        np.testing.assert_array_equal(video.frame_numbers, source.frame_numbers)
        np.testing.assert_array_equal(video.labels, source.labels)
        assert {-1, 0, 1} == set(np.unique(video.labels))
    assert train_records.num_frames == 70 + 10 + 32 + 33
    assert train_records.crop_recipe == {"name": "canonical", "eye_height": 0.29}


def test_jpegs_are_stored_as_they_were(aligned_tree, train_records):
    original = jpegs(aligned_tree, "F001_T1")
    stored = [jpeg for chunk in range(3) for jpeg in train_records.read_jpegs(0, chunk)]
    assert stored == original


@pytest.mark.parametrize(("start", "stop"), [(0, 1), (30, 34), (0, 70), (64, 70), (32, 64), (69, 70)])
def test_any_run_of_frames(aligned_tree, train_records, start, stop):
    encoded = jpegs(aligned_tree, "F001_T1")
    expected = [np.asarray(Image.open(records.io.BytesIO(jpeg))) for jpeg in encoded[start:stop]]
    found = train_records.read_frames(0, start, stop)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def test_frames_at_half_size(train_records):
    full = train_records.read_frames(2, 0, 4).astype(float)
    half = train_records.read_frames(2, 0, 4, size=128)
    assert half.shape == (4, 128, 128, 3)
    averaged = full.reshape(4, 128, 2, 128, 2, 3).mean((2, 4))
    assert np.abs(half - averaged).mean() < 2


def test_frames_into_an_array(train_records):
    out = np.zeros((3, 256, 256, 3), np.uint8)
    assert train_records.read_frames(0, 1, 4, out=out) is out
    np.testing.assert_array_equal(out, train_records.read_frames(0, 1, 4))


@pytest.mark.parametrize(("start", "stop"), [(-1, 3), (5, 5), (60, 71)])
def test_frames_that_do_not_exist(train_records, start, stop):
    with pytest.raises(ValueError, match=r"video F001_T1 has frames 0\.\.70"):
        train_records.read_frames(0, start, stop)


def test_a_size_that_cannot_be_decoded(train_records):
    with pytest.raises(ValueError, match="not 224"):
        train_records.read_frames(0, 0, 1, size=224)


def test_many_threads_read_the_same(train_records):
    places = [(v, s) for v in range(4) for s in range(0, 9, 3)]
    expected = [train_records.read_frames(v, s, s + 1).tobytes() for v, s in places]
    train_records.close()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda p: train_records.read_frames(*p, p[1] + 1).tobytes(), places * 3))
    assert found == expected * 3


def test_rates_of_known_labels(train_records):
    labels = np.concatenate([video.labels for video in train_records.videos])
    rates = train_records.rates()
    for column in range(12):
        known = labels[labels[:, column] >= 0, column]
        assert rates[column] == (known == 1).sum() / len(known)
    assert rates[3] == 0


def test_fingerprint_is_that_of_the_whole_set(data_dir, train_records):
    assert records.open_dataset(data_dir, facs.BP4D, ("part2",)).fingerprint == train_records.fingerprint


@pytest.mark.parametrize("parts", [(), ("part4",), ("part1", "part1")])
def test_parts_that_cannot_be_opened(data_dir, parts):
    with pytest.raises(ValueError, match="has the parts part1, part2, part3"):
        records.open_dataset(data_dir, facs.BP4D, parts)


def test_other_order_of_aus_is_refused(data_dir):
    other = dataclasses.replace(facs.BP4D, aus=(2, 1, *facs.BP4D.aus[2:]))
    with pytest.raises(ValueError, match=r"holds the AUs 1 2 4 .* has 2 1 4"):
        records.open_dataset(data_dir, other, ("part1",))


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff\xfe\x00", None])
def test_damaged_descriptions(data_dir, tmp_path, file, content):
    folder = tmp_path / "bp4d/1.0.0"
    shutil.copytree(data_dir / "bp4d/1.0.0", folder)
    if content is not None:
        (folder / file).write_bytes(content)
    elif file == "features.json":
        (folder / file).unlink()
    else:
        info = json.loads((folder / file).read_text())
        info["splits"] = []
        (folder / file).write_text(json.dumps(info))
    with pytest.raises(ValueError, match=r"bp4d/1\.0\.0"):
        records.open_dataset(tmp_path, facs.BP4D, ("part1",))


def test_reading_needs_no_tensorflow(data_dir, run_python):
    """In a Python that has no TensorFlow: opening, indexing, reading, a batch, windows."""
    code = """
        import sys

        class Without:
            def __init__(self, finder):
                self.finder = finder

            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "tensorflow":
                    return None
                return self.finder.find_spec(name, path, target)

            def __getattr__(self, name):
                return getattr(self.finder, name)

        sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]
        try:
            import tensorflow
        except ModuleNotFoundError:
            pass
        else:
            raise SystemExit("TensorFlow is still there")
        from mdhr_jax import facs
        from mdhr_jax.data import clips, loader, record_index, records

        record_index._cache_places = lambda directory: []
        opened = records.open_dataset(sys.argv[1], facs.BP4D, ("part1", "part2"))
        stream = clips.ClipStream([video.num_frames for video in opened.videos], 4, 0)
        with loader.train_batches(opened, stream, batch_size=2, image_size=64) as batches:
            print(next(batches)["frames"].shape)
    """
    done = run_python("-c", textwrap.dedent(code), str(data_dir))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "(2, 4, 128, 128, 3)\n"


def test_tensorflow_is_not_imported_where_it_is_there(data_dir, run_python):
    code = (
        "import sys; from mdhr_jax import facs; from mdhr_jax.data import records;"
        "records.open_dataset(sys.argv[1], facs.BP4D, ('part1',)).read_frames(0, 0, 2);"
        "print('tensorflow' in sys.modules)"
    )
    done = run_python("-c", code, str(data_dir))
    assert (done.returncode, done.stdout) == (0, "False\n"), done.stderr


def test_recordings_have_no_truth_besides_their_labels(data_dir):
    assert records.open_dataset(data_dir, facs.BP4D, ("part1",)).read_truth(0) == {}


def test_the_truth_of_a_long_video_is_put_together(synthetic_data):
    opened = records.open_dataset(synthetic_data, facs.SYNTHETIC_BP4D, ("part1",))
    truth = opened.read_truth(0)
    assert truth["intensities"].shape == (24, 12)
    assert truth["landmarks"].shape[0] == truth["head_pose"].shape[0] == 24
    np.testing.assert_array_equal(truth["intensities"] > np.float32(0.35), opened.videos[0].labels == 1)
