"""Many videos: in one process or several, the same archives; failures told; nothing half-written."""

import dataclasses
import functools

import pytest

from data_prep import pool
from data_prep.archives import Job
from mdhr_jax import facs
from mdhr_jax.faces.recipe import AlignmentRecipe

from . import prepared

NAMES = ("F001_T1", "F001_T2", "M011_T1", "F007_T1")
RECIPE = AlignmentRecipe(detector="scripted", detector_version="1", detect_every=1)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return prepared.recordings(tmp_path_factory.mktemp("raw"), NAMES)


def test_any_number_of_processes_makes_the_same_archives(recordings, tmp_path, capfd):
    videos, points = recordings
    found = {}
    for workers in (1, 3):
        out = tmp_path / str(workers)
        out.mkdir()
        get_detector = functools.partial(prepared.scripted, points)
        outcomes = pool.make_all(Job(facs.BP4D, out, RECIPE), videos, get_detector, workers)
        assert [outcome.video for outcome in outcomes] == [video.name for video in videos]
        problems = [outcome.problem for outcome in outcomes if outcome.problem is not None]
        assert [(problem.video, problem.frame) for problem in problems] == [("M011_T1", 12)]
        assert "22/22 frames (100%)" in capfd.readouterr().err
        found[workers] = prepared.contents(out)
    assert set(found[1]) == {"F001_T1.zip", "F001_T2.zip", "F007_T1.zip"}
    assert found[1] == found[3]


@pytest.mark.parametrize("workers", [1, 2])
def test_strict_stops_at_the_first_problem_and_keeps_what_is_finished(recordings, tmp_path, workers):
    videos, points = recordings
    with pytest.raises(ValueError, match=r"stopped \(--strict\): M011_T1: .*12\.jpg"):
        pool.make_all(
            Job(facs.BP4D, tmp_path, RECIPE),
            videos,
            functools.partial(prepared.scripted, points),
            workers,
            strict=True,
        )
    left = set(prepared.contents(tmp_path))
    assert left <= {"F001_T1.zip", "F001_T2.zip", "F007_T1.zip"}


def broken(video):
    raise OSError(28, "No space left on device", f"{video.name}.zip")


def killed(video):
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_full_disk_ends_the_run(recordings, tmp_path, workers):
    videos, _ = recordings
    with pytest.raises(OSError, match="No space left"):
        pool.make_all(Job(facs.BP4D, tmp_path, RECIPE), videos, broken, workers)
    assert prepared.contents(tmp_path) == {}


def test_a_killed_process_is_told(recordings, tmp_path):
    videos, _ = recordings
    with pytest.raises(
        RuntimeError, match="was killed, perhaps for lack of memory; try fewer than 2 workers"
    ):
        pool.make_all(Job(facs.BP4D, tmp_path, RECIPE), videos, killed, 2)
    assert prepared.contents(tmp_path) == {}


def test_numbers_of_workers(recordings, tmp_path):
    videos, points = recordings
    job = dataclasses.replace(Job(facs.BP4D, tmp_path, RECIPE))
    with pytest.raises(ValueError, match="workers must be at least 1, found 0"):
        pool.make_all(job, videos, functools.partial(prepared.scripted, points), 0)
