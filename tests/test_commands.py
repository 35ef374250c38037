import pytest

from mdhr_jax import commands


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (commands.DONE, 0), (commands.FAILED, 1), (3, 3)])
def test_what_a_command_returns_is_its_exit_code(returned, code, capsys):
    assert commands.finish(lambda: returned) == code
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("kind", [ValueError, FileNotFoundError, ModuleNotFoundError, RuntimeError])
def test_what_a_user_can_mend_is_a_line(kind, capsys):
    def command():
        raise kind("no such file: a")

    assert commands.finish(command) == commands.MISTAKE == 2
    assert capsys.readouterr() == ("", "error: no such file: a\n")


def test_what_no_user_can_mend_is_not_hidden():
    def command():
        raise AttributeError("a defect")

    with pytest.raises(AttributeError):
        commands.finish(command)


def test_ctrl_c_says_what_became_of_the_results(capsys):
    def command():
        raise KeyboardInterrupt

    assert commands.finish(command, interrupted="half is written") == commands.INTERRUPTED == 130
    assert capsys.readouterr().err == "interrupted; half is written\n"
