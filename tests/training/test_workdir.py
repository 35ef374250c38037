import errno
import os

import pytest

from mdhr_jax.training import workdir


def test_a_directory_is_trained_in_by_one_process_at_a_time(tmp_path):
    in_use = pytest.raises(ValueError, match=f"is in use by process {os.getpid()} on ")
    with workdir.occupied(tmp_path), in_use, workdir.occupied(tmp_path):
        pytest.fail("the directory was free")
    with workdir.occupied(tmp_path):
        assert (tmp_path / workdir.LOCK_FILE).exists()


def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch):
    def refuse(file, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(workdir.fcntl, "flock", refuse)
    told = pytest.raises(ValueError, match=r"cannot be locked \(No locks available\).*Choose a --workdir")
    with told, workdir.occupied(tmp_path):
        pytest.fail("it was not locked")


@pytest.mark.parametrize("content", ["[]", "null", '"fold"', "{"])
def test_a_configuration_that_is_no_object_is_told(content, tmp_path):
    path = tmp_path / workdir.CONFIG_FILE
    path.write_text(content)
    with pytest.raises(ValueError, match=r"config\.json (holds a|is not JSON).*remove it if"):
        workdir.read_config(path)
