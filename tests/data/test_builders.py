import json
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from mdhr_jax import facs
from mdhr_jax.data import aligned, builders, layout, render_pool, sources
from mdhr_jax.data.synthetic import generator

FOLDER = "bp4d/1.0.0"


def shards(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.tfrecord*")}


def write(run_python, tree, out):
    return run_python("-m", "data_prep.bp4d", "--aligned", str(tree), "--out", str(out))


def test_written_set(data_dir):
    folder = data_dir / FOLDER
    assert set(shards(folder)) == {f"bp4d-part{n}.tfrecord-00000-of-00001" for n in (1, 2, 3)}
    assert [path.name for path in data_dir.iterdir()] == ["bp4d"]
    assert [path.name for path in (data_dir / "bp4d").iterdir()] == ["1.0.0"]
    info = json.loads((folder / "dataset_info.json").read_text())
    assert {s["name"]: s["shardLengths"] for s in info["splits"]} == {
        "part1": ["4"],
        "part2": ["2"],
        "part3": ["3"],
    }


def test_metadata(data_dir, aligned_tree):
    metadata = layout.read_metadata(data_dir / FOLDER)
    tree = aligned.read_tree(facs.BP4D, aligned_tree)
    assert metadata["aus"] == list(facs.BP4D.aus)
    assert metadata["crop_recipe"] == tree.crop_recipe
    assert metadata["format_version"] == layout.FORMAT_VERSION
    assert metadata["source"] == {"kind": "aligned", "digest": tree.digest, "digest_of": "contents"}
    for part, videos, frames in (("part1", 2, 80), ("part2", 1, 40), ("part3", 2, 65)):
        labels = np.concatenate([video.labels for video in tree.videos if video.part == part])
        assert metadata["parts"][part] == {
            "videos": videos,
            "frames": frames,
            "positives": (labels == 1).sum(0).tolist(),
            "known": (labels >= 0).sum(0).tolist(),
        }


def test_the_same_tree_gives_the_same_bytes_in_another_process(data_dir, aligned_tree, tmp_path, run_python):
    done = write(run_python, aligned_tree, tmp_path)
    assert done.returncode == 0, done.stderr
    assert shards(tmp_path / FOLDER) == shards(data_dir / FOLDER)
    assert "185/185 frames" in done.stderr
    assert done.stdout == f"{tmp_path / FOLDER}\n"


def test_a_set_that_is_there_is_left_alone(data_dir, aligned_tree, tmp_path, run_python):
    before = {path: path.stat().st_mtime_ns for path in (data_dir / FOLDER).iterdir()}
    done = write(run_python, aligned_tree, data_dir)
    assert done.returncode == 0, done.stderr
    assert "holds this data set already" in done.stdout
    tree = tmp_path / "other"
    shutil.copytree(aligned_tree, tree)
    aligned.write_recipe(tree, {"name": "other"})
    done = write(run_python, tree, data_dir)
    assert done.returncode == 2
    assert "holds another data set: crop_recipe is {'eye_height'" in done.stderr
    assert "Delete that folder" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_frame_that_cannot_be_read_leaves_nothing(aligned_tree, tmp_path, run_python):
    tree = tmp_path / "tree"
    shutil.copytree(aligned_tree, tree)
    spoilt = tree / "F007_T10/frames/30.jpg"
    spoilt.write_bytes(spoilt.read_bytes()[:2000])
    done = write(run_python, tree, tmp_path / "out")
    assert done.returncode == 2
    assert f"{spoilt} is not a readable JPEG" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []
    assert not (tmp_path / "out" / FOLDER).exists()


def test_a_killed_writer_leaves_nothing_that_looks_complete(aligned_tree, tmp_path, run_python):
    command = [sys.executable, "-m", "data_prep.bp4d", "--aligned", str(aligned_tree), "--out", str(tmp_path)]
    with subprocess.Popen(command, cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL) as process:
        while process.poll() is None and not list(tmp_path.glob("bp4d/incomplete.*/.*.tmp")):
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / FOLDER).exists()
    with pytest.raises(layout.DataNotFound):
        layout.find_dataset(tmp_path, facs.BP4D)
    # The next run takes away what this one left, and nothing that may be another machine's.
    foreign = tmp_path / "bp4d/incomplete.000_1.0.0"
    foreign.mkdir()
    (foreign / ".writer.000000000000-1-000000000000.tmp").touch()
    done = write(run_python, aligned_tree, tmp_path)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "bp4d").iterdir()} == {"1.0.0", foreign.name}
    assert not list((tmp_path / FOLDER).glob(".*"))


def test_problems_of_a_tree_and_wrong_arguments(tmp_path, run_python):
    done = write(run_python, tmp_path / "nowhere", tmp_path)
    assert done.returncode == 2
    assert "nowhere is not a folder" in done.stderr
    assert "Traceback" not in done.stderr
    done = run_python("-m", "data_prep.disfa", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "--aligned" in done.stderr


WITH_TENSORFLOW = """
    import resource
    import sys
    from pathlib import Path

    import numpy as np
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core import shuffle

    from mdhr_jax import facs
    from mdhr_jax.data import aligned, builders, layout, records
    from mdhr_jax.data.synthetic import generator

    def main():
        data_dir, tree, out = map(Path, sys.argv[1:])
        builders.hide_accelerators()

        # TFDS reads the same examples as we do.
        builder = tfds.builder_from_directory(data_dir / "bp4d/1.0.0")
        opened = records.open_dataset(data_dir, facs.BP4D, ("part1", "part2"))
        seen = {}
        encoded = {"images": tfds.decode.SkipDecoding()}
        for example in tfds.as_numpy(builder.as_dataset("part1+part2", decoders=encoded)):
            seen.setdefault(example["video"].decode(), []).append(example)
        assert list(seen) == [video.name for video in opened.videos]
        for number, video in enumerate(opened.videos):
            chunks = seen[video.name]
            assert [example["chunk"] for example in chunks] == list(range(len(chunks)))
            assert {example["subject"].decode() for example in chunks} == {video.subject}
            numbers = np.concatenate([example["frame_numbers"] for example in chunks])
            np.testing.assert_array_equal(numbers, video.frame_numbers)
            np.testing.assert_array_equal(np.concatenate([e["labels"] for e in chunks]), video.labels)
            for chunk, example in enumerate(chunks):
                assert list(example["images"]) == opened.read_jpegs(number, chunk)
        example = next(iter(tfds.as_numpy(builder.as_dataset("part1"))))
        # TensorFlow decodes with a quicker, less exact transform.
        assert np.abs(example["images"].astype(int) - opened.read_frames(0, 0, 32)).mean() < 3

        # A split too large for TFDS's memory is sorted on disk: the same bytes.
        limit, shuffle.MAX_MEM_BUFFER_SIZE = shuffle.MAX_MEM_BUFFER_SIZE, 1000
        builders.write_aligned(facs.BP4D, aligned.read_tree(facs.BP4D, tree), out)
        shuffle.MAX_MEM_BUFFER_SIZE = limit
        for path in (data_dir / "bp4d/1.0.0").glob("*.tfrecord*"):
            assert (out / "bp4d/1.0.0" / path.name).read_bytes() == path.read_bytes()

        # A data set with AUs of its own is one entry of the table; a part without subjects is left out.
        region = facs.RegionGroup("all", "middle", (1, 4, 6, 12, 43))
        toy = facs.AUSet("toy", "Toy", region.aus, (region,), True, 25.0, (("A",), (), ("B",)))
        aligned.write_recipe(out / "toy_tree", {"name": "canonical"})
        for subject in "AB":
            frames = [np.full((256, 256, 3), 100, np.uint8)] * 3
            aligned.write_video(out / "toy_tree", f"{subject}_1", frames, np.eye(3, 5, dtype=int), toy.aus)
        builders.write_aligned(toy, aligned.read_tree(toy, out / "toy_tree"), out)
        opened = records.open_dataset(out, toy, ("part3", "part1"))
        assert [video.name for video in opened.videos] == ["B_1", "A_1"]
        np.testing.assert_array_equal(opened.videos[0].labels, np.eye(3, 5))

        # Synthetic sets, in processes and without, give the same bytes.
        spec = generator.SyntheticSpec(
            like="disfa", seed=3, subjects=3, videos_per_subject=2, frames_per_video=3
        )
        folder = builders.write_synthetic(out, spec, workers=2)
        assert folder == out / "synthetic/disfa/1.0.0"
        again = builders.write_synthetic(out / "again", spec, workers=1)
        for path in folder.glob("*.tfrecord*"):
            assert (again / path.name).read_bytes() == path.read_bytes()
        opened = records.open_dataset(out, facs.SYNTHETIC_DISFA, facs.PARTS)
        assert opened.crop_recipe == spec.crop_recipe()
        names = [v.name for part in facs.PARTS for v in spec.videos() if v.part == part]
        assert [video.name for video in opened.videos] == names
        rendered = generator.render_video(spec, spec.videos()[3])
        number = names.index(spec.videos()[3].name)
        np.testing.assert_array_equal(opened.videos[number].labels, rendered.labels)
        assert np.abs(opened.read_frames(number, 0, 3).astype(int) - rendered.frames).mean() < 3
        assert layout.read_metadata(folder)["source"]["seed"] == 3
        truth = opened.read_truth(number)
        assert set(truth) == {"intensities", "landmarks", "head_pose"}
        for name, found in truth.items():
            np.testing.assert_array_equal(found, getattr(rendered, name))
        card = (folder / layout.CARD_FILE).read_text()
        assert "--like disfa --preset easy --seed 3 --subjects 3" in " ".join(card.split())
        assert not (out / "toy/1.0.0" / layout.CARD_FILE).exists()

        # A full disk, as near as a process can make one: files cannot grow beyond a limit.
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            builders.write_aligned(facs.BP4D, aligned.read_tree(facs.BP4D, tree), out / "full")
        except OSError as error:
            assert "bp4d/1.0.0 could not be written" in str(error), error
        else:
            raise SystemExit("a full disk went unnoticed")
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert [path for path in (out / "full").rglob("*") if path.is_file()] == []
        print("all the same")

    if __name__ == "__main__":
        main()
"""


def test_with_tensorflow(data_dir, aligned_tree, tmp_path, run_python):
    """What needs TensorFlow in the process; it stays out of the process of the tests."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(WITH_TENSORFLOW))
    done = run_python(str(script), str(data_dir), str(aligned_tree), str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("all the same\n")


@pytest.fixture
def synthetic_folder(tmp_path):
    """The description of a synthetic set, as a finished one has it."""
    spec = generator.SyntheticSpec(subjects=3, frames_per_video=4)
    source = sources.SyntheticSource(spec, iter(()))
    metadata = {
        "format_version": layout.FORMAT_VERSION,
        "aus": list(spec.au_set.aus),
        "crop_recipe": spec.crop_recipe(),
        "source": source.describe(),
    }
    folder = tmp_path / "synthetic/bp4d/1.0.0"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps(metadata))
    return tmp_path


def test_a_set_of_a_version_that_did_not_look_into_frames_is_refused_for_that(aligned_tree, tmp_path):
    tree = aligned.read_tree(facs.BP4D, aligned_tree)
    source = sources.AlignedSource(facs.BP4D, tree)
    metadata = {
        "format_version": layout.FORMAT_VERSION,
        "aus": list(facs.BP4D.aus),
        "crop_recipe": tree.crop_recipe,
        "source": {"kind": "aligned", "digest": "of sizes"},
    }
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="another data set: digest_of is None there and 'contents' here"):
        builders._is_there(tmp_path, source)
    metadata["source"]["digest_of"] = "contents"
    (tmp_path / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="another data set: its frames or labels are others"):
        builders._is_there(tmp_path, source)


def test_a_synthetic_set_that_is_there(synthetic_folder, capsys):
    spec = generator.SyntheticSpec(subjects=3, frames_per_video=4)
    assert builders.write_synthetic(synthetic_folder, spec) == synthetic_folder / "synthetic/bp4d/1.0.0"
    assert "holds this data set already" in capsys.readouterr().out
    other = generator.SyntheticSpec(subjects=4, frames_per_video=4, seed=2)
    with pytest.raises(ValueError, match="seed is 0 there and 2 here; subjects is 3 there and 4 here"):
        builders.write_synthetic(synthetic_folder, other)


def test_another_generator_version_is_another_set(synthetic_folder, monkeypatch):
    monkeypatch.setattr(generator, "GENERATOR_VERSION", "0.0.1")
    spec = generator.SyntheticSpec(subjects=3, frames_per_video=4)
    with pytest.raises(ValueError, match=r"generator_version is .* there and '0\.0\.1' here"):
        builders.write_synthetic(synthetic_folder, spec)


def test_synthetic_frames_must_fit_the_records(tmp_path):
    with pytest.raises(ValueError, match="frames of 256 pixels, the specification says 128"):
        builders.write_synthetic(tmp_path, generator.SyntheticSpec(size=128))


def test_keys_keep_the_order_of_records_and_spread_them():
    keys = [builders._record_key(record) for record in range(258_000)]
    assert keys == sorted(set(keys))
    assert keys[-1] < 2**128
    buckets = [key * 1000 // 2**128 for key in keys[:2000:100]]
    assert buckets == [record // 256 for record in range(0, 2000, 100)]


def test_rendering_keeps_order_and_takes_no_more_than_asked():
    rendered = []

    class Picture:
        def __init__(self, video):
            self.frames = [np.full((256, 256, 3), video, np.uint8)]
            self.labels = np.array([[video]])

    def render(spec, video):
        rendered.append(video)
        return Picture(video)

    videos = render_pool.render_all(render, None, [5, 3, 4], workers=1)
    assert [next(videos).labels.item(), next(videos).labels.item()] == [5, 3]
    assert rendered == [5, 3]
    with pytest.raises(ValueError, match="workers must be at least 1"):
        next(render_pool.render_all(render, None, [1], workers=0))
