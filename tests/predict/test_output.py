"""Several processes write into one folder: every input has files of its own, whole, and nothing is lost."""

import os
import subprocess
import sys
import threading

import pytest

from mdhr_jax.predict import output
from mdhr_jax.predict.rows import Row
from tests.processes import REPOSITORY

AUS = (1, 12)
HEADER = "frame,face_id,timestamp,confidence,success,AU01_c,AU12_c,AU01_p,AU12_p"

OTHER_PROCESS = """
import sys
from pathlib import Path
from mdhr_jax.predict import output
from mdhr_jax.predict.rows import Row
work = {"input": "mine"}
with output.claimed(Path(sys.argv[1]), "talk", work, set()) as place:
    with output.TableFile(place, (1, 12), work, flush_every=1) as file:
        file.write(Row(1, None, 9.0, None, None, None))
        print(place.csv.name, flush=True)
        sys.stdin.readline()
"""


def claimed(folder, name, **work):
    return output.claimed(folder, name, work, set())


def write(place, work, timestamp=0.25):
    with output.TableFile(place, AUS, work) as file:
        file.write(Row(1, None, timestamp, None, None, None))
        assert not place.csv.exists()
        file.finish({"protocol": "paper"})


def done(folder, name, timestamp=0.25, **work):
    """Does an input; returns the name of its table."""
    with output.claimed(folder, name, work, set()) as place:
        if not place.complete:
            write(place, work, timestamp)
        return place.csv.name


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def time_in(path):
    header, line = path.read_text().splitlines()
    assert header == HEADER
    return float(line.split(",")[2])


def test_a_name_is_of_one_work(tmp_path):
    assert done(tmp_path, "talk", mode="stream") == "talk.csv"
    assert time_in(tmp_path / "talk.csv") == 0.25
    assert names(tmp_path) == ["talk.csv", "talk.json"]
    with claimed(tmp_path, "talk", mode="stream") as place:
        assert place.complete
    with claimed(tmp_path, "talk", mode="clips") as place:
        assert (place.csv.name, place.complete) == ("talk_2.csv", False)
    with output.claimed(tmp_path, "Talk", {"mode": "stream"}, {"talk"}) as place:
        assert place.csv.name == "Talk_2.csv"
    assert names(tmp_path) == ["talk.csv", "talk.json"]


def test_who_comes_while_another_process_works(tmp_path):
    """And then finds what that process leaves when it is killed."""
    other = subprocess.Popen(
        [sys.executable, "-c", OTHER_PROCESS, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    )
    with other:
        try:
            assert other.stdout is not None
            assert other.stdout.readline() == "talk.csv\n"
            with (
                pytest.raises(ValueError, match=r"another process is writing .*talk\.json; wait"),
                claimed(tmp_path, "talk", input="mine"),
            ):
                pass
            assert done(tmp_path, "talk", input="yours") == "talk_2.csv"
            assert names(tmp_path) == ["talk.csv.part", "talk.json.part", "talk_2.csv", "talk_2.json"]
        finally:
            other.kill()
    assert names(tmp_path)[:2] == ["talk.csv.part", "talk.json.part"]
    assert done(tmp_path, "talk", input="mine") == "talk.csv"
    assert names(tmp_path) == ["talk.csv", "talk.json", "talk_2.csv", "talk_2.json"]
    assert time_in(tmp_path / "talk.csv") == time_in(tmp_path / "talk_2.csv") == 0.25


def test_between_the_name_of_a_table_and_the_end_nobody_gets_in(tmp_path, monkeypatch):
    """Neither before nor after any file is renamed; locks are those of open files, not of processes."""
    replace, came = os.replace, []

    def meanwhile(source, target):
        for when in ("before", "after"):
            if when == "after":
                replace(source, target)
            with monkeypatch.context() as patched:
                patched.setattr(os, "replace", replace)
                with pytest.raises(ValueError, match="another process"), claimed(tmp_path, "a", number=1):
                    pass
                came.append(done(tmp_path, "a", timestamp=7.0, number=2))

    monkeypatch.setattr(os, "replace", meanwhile)
    assert done(tmp_path, "a", number=1) == "a.csv"
    monkeypatch.undo()
    assert came == ["a_2.csv"] * 4
    assert names(tmp_path) == ["a.csv", "a.json", "a_2.csv", "a_2.json"]
    assert (time_in(tmp_path / "a.csv"), time_in(tmp_path / "a_2.csv")) == (0.25, 7.0)


def test_many_at_once_each_have_their_own(tmp_path):
    """Twelve inputs of one stem, each of them twice: twelve whole results, and no input is lost."""
    start, found, refused = threading.Barrier(24), {}, []

    def one(number):
        start.wait(60)
        try:
            found.setdefault(number, set()).add(done(tmp_path, "a", float(number), number=number))
        except ValueError as error:
            refused.append(str(error))

    threads = [threading.Thread(target=one, args=(number % 12,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == list(range(12))
    assert len(refused) <= 12
    assert all("another process" in text for text in refused)
    for number, tables in found.items():
        assert {time_in(tmp_path / name) for name in tables} == {float(number)}
    assert not [name for name in names(tmp_path) if not name.endswith((".csv", ".json"))]


def test_a_holder_that_has_not_decided_is_waited_for(tmp_path, monkeypatch):
    """It may find the name taken and go on: who took its work for the reason would do its own once more."""
    done(tmp_path, "a", number=1)
    looked, go_on = threading.Event(), threading.Event()

    def free(chosen):
        looked.set()
        go_on.wait(60)
        return False

    def undecided():
        with output.claimed(tmp_path, "a", {"number": 1}, set(), lambda name: name != "a" or free(name)):
            pass

    waits = output.time.sleep

    def sleep(seconds):
        go_on.set()
        waits(seconds)

    monkeypatch.setattr(output.time, "sleep", sleep)
    thread = threading.Thread(target=undecided)
    thread.start()
    looked.wait(60)
    with claimed(tmp_path, "a", number=1) as place:
        assert (place.csv.name, place.complete) == ("a.csv", True)
    thread.join(60)


def test_what_does_not_fit_on_the_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        done(tmp_path, "a", number=1)
    assert names(tmp_path) == []
