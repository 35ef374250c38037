"""The same archives from an Apache Beam pipeline in several processes (extra: beam)."""

import functools

import pytest

pytest.importorskip("apache_beam", reason="needs the extra beam")

from data_prep import beam_pipeline, pool
from data_prep.archives import Job
from mdhr_jax import facs
from mdhr_jax.faces.recipe import AlignmentRecipe

from . import prepared

FLAGS = ("--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2")
RECIPE = AlignmentRecipe(detector="scripted", detector_version="1", detect_every=1)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return prepared.recordings(tmp_path_factory.mktemp("raw"), ("F001_T1", "M011_T1", "F007_T1"))


@pytest.mark.slow
def test_a_pipeline_makes_the_archives_that_processes_make(recordings, tmp_path):
    videos, points = recordings
    get_detector = functools.partial(prepared.scripted, points)
    jobs = {}
    for kind in ("pool", "beam"):
        (tmp_path / kind).mkdir()
        jobs[kind] = Job(facs.BP4D, tmp_path / kind, RECIPE)
    expected = pool.make_all(jobs["pool"], videos, get_detector, 1)
    outcomes = beam_pipeline.make_all(jobs["beam"], videos, get_detector, FLAGS)
    assert outcomes == expected
    assert prepared.contents(tmp_path / "beam") == prepared.contents(tmp_path / "pool")
    again = beam_pipeline.make_all(jobs["beam"], videos, get_detector, FLAGS)
    assert [outcome.kept for outcome in again] == [True, True, False]


@pytest.mark.slow
def test_strict_fails_the_pipeline(recordings, tmp_path):
    videos, points = recordings
    job = Job(facs.BP4D, tmp_path, RECIPE)
    with pytest.raises(
        RuntimeError, match=r"the pipeline failed: (.|\n)*M011_T1(.|\n)*Finished videos are kept"
    ):
        beam_pipeline.make_all(job, videos, functools.partial(prepared.scripted, points), FLAGS, strict=True)
