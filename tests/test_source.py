import subprocess

import pytest

from mdhr_jax import source


@pytest.fixture
def git(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    clone = tmp_path / "clone"

    def run(*arguments):
        identity = ["-c", "user.name=A", "-c", "user.email=a@b"]
        done = subprocess.run(["git", *identity, *arguments], cwd=clone, capture_output=True, check=True)
        return done.stdout.decode().strip()

    clone.mkdir()
    run("init", "-q")
    return run


@pytest.fixture
def package(git, tmp_path):
    package = tmp_path / "clone" / "project"
    package.mkdir()
    (package / "__init__.py").write_text("")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    return package


def test_the_commit_of_a_clone_and_whether_its_files_differ(package, git):
    head = git("rev-parse", "HEAD")
    assert len(head) == 40
    assert source.commit_of(package) == head
    (package.parent / "notes.txt").write_text("of nobody's concern")
    assert source.commit_of(package) == head
    (package / "new.py").write_text("x = 1\n")
    assert source.commit_of(package) == head + source.DIRTY
    git("add", ".")
    assert source.commit_of(package) == head + source.DIRTY
    git("commit", "-q", "-m", "two")
    assert source.commit_of(package) == git("rev-parse", "HEAD") != head


def test_variables_of_another_repository_do_not_answer(package, git, monkeypatch, tmp_path):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "nowhere"))
    assert source.commit_of(package) is not None


def test_without_a_clone_of_its_own_or_git_nothing_is_known(package, git, tmp_path, monkeypatch):
    installed = tmp_path / "clone" / "venv" / "project"
    installed.mkdir(parents=True)
    assert source.commit_of(installed) is None  # In a clone of something else.
    beside = tmp_path / "clone" / "other"
    beside.mkdir()
    (beside / "__init__.py").write_text("")
    assert source.commit_of(beside) is None  # Not part of the clone.
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert source.commit_of(elsewhere) is None
    assert source.commit_of(tmp_path / "absent") is None
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert source.commit_of(package) is None


def test_a_clone_without_a_commit_has_none(git, tmp_path):
    package = tmp_path / "clone" / "project"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert source.commit_of(package) is None
