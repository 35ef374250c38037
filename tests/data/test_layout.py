import dataclasses
import json

import pytest

from mdhr_jax import facs
from mdhr_jax.data import layout


def test_folders_of_the_data_sets(tmp_path):
    assert layout.version_dir(tmp_path, facs.BP4D) == tmp_path / "bp4d/1.0.0"
    assert layout.version_dir(tmp_path, facs.SYNTHETIC_DISFA) == tmp_path / "synthetic/disfa/1.0.0"


def test_data_directory_or_versioned_folder(data_dir):
    folder = data_dir / "bp4d/1.0.0"
    assert layout.find_dataset(data_dir, facs.BP4D) == folder
    assert layout.find_dataset(folder, facs.BP4D) == folder


@pytest.mark.parametrize(
    ("au_set", "words"),
    [
        (
            facs.BP4D,
            ["bp4d/1.0.0", "Binghamton", "Lijun Yin", "data_prep.bp4d --raw", "configs/quickstart.py"],
        ),
        (
            facs.DISFA,
            ["disfa/1.0.0", "Denver", "Mahoor", "data_prep.disfa --raw", "configs/quickstart.py"],
        ),
        (facs.SYNTHETIC_DISFA, ["synthetic/disfa/1.0.0", "mdhr_jax.data.synthetic", "--like disfa"]),
    ],
)
def test_missing_data_say_how_to_get_them(tmp_path, au_set, words):
    with pytest.raises(layout.DataNotFound) as caught:
        layout.find_dataset(tmp_path / "nowhere", au_set)
    message = str(caught.value)
    assert [word for word in [*words, "nowhere"] if word not in message] == []
    assert len(message.splitlines()) <= 6


def test_a_half_written_set_is_none(tmp_path):
    (tmp_path / "bp4d/incomplete.AB12_1.0.0").mkdir(parents=True)
    (tmp_path / "bp4d/incomplete.AB12_1.0.0/dataset_info.json").write_text("{}")
    (tmp_path / "bp4d/0.9.0").mkdir()
    with pytest.raises(layout.DataNotFound, match=r"other versions are there \(0\.9\.0\)"):
        layout.find_dataset(tmp_path, facs.BP4D)


def test_other_aus_or_format_are_refused(data_dir, tmp_path):
    metadata = layout.read_metadata(data_dir / "bp4d/1.0.0")
    layout.check_metadata(metadata, facs.BP4D, tmp_path)
    turned = dataclasses.replace(facs.BP4D, name="turned", aus=facs.BP4D.aus[::-1])
    with pytest.raises(ValueError, match=r"holds the AUs 1 2 4 .* 'turned' has 24 23"):
        layout.check_metadata(metadata, turned, tmp_path)
    with pytest.raises(ValueError, match="format version 99, this code reads 1"):
        layout.check_metadata({**metadata, "format_version": 99}, facs.BP4D, tmp_path)


@pytest.mark.parametrize("content", ["{", json.dumps([1]), None])
def test_damaged_metadata(tmp_path, content):
    if content is not None:
        (tmp_path / "metadata.json").write_text(content)
    with pytest.raises(ValueError, match=r"metadata\.json"):
        layout.read_metadata(tmp_path)
