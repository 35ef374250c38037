import pytest

from tests.report import made_runs
from tests.report.made_report import SKILLS, put, report


@pytest.fixture(scope="session")
def mixed(tmp_path_factory):
    """Every kind of trouble in one directory."""
    root = tmp_path_factory.mktemp("mixed")
    for fold in (1, 2, 3):
        for row in ("backbone", "mfd", "afe"):
            put(root, row, fold)
        put(root, "backbone", fold, protocol="honest", skill=0.9)
        put(root, "afe", fold, seed=1)
    put(root, "mfd", 1, seed=1)
    put(root, "mfd", 2, seed=1, kind=made_runs.fail)
    killed = put(root, "mfd", 3, seed=1, kind=made_runs.start)
    (killed / "checkpoints" / "24").mkdir(parents=True)
    put(root, "afe+aux", 1)
    put(root, "afe+aux", 2)
    put(root, "afe+aux", 3)
    again = made_runs.config_of("3", "afe+aux", fold=3)
    made_runs.finish(root / "again", again, skill=1.9)
    made_runs.finish(root / "copy", made_runs.config_of("3", "backbone"), skill=SKILLS["backbone"])
    made_runs.finish(root / "full", made_runs.config_of("3", "mfd", scale="full"), skill=1.9)
    other = made_runs.config_of("3", "mfd", train__epochs=7)
    made_runs.finish(root / "short", other, skill=1.9)
    half = put(root, "backbone", 1, seed=2)
    (half / "result.json").write_bytes((half / "result.json").read_bytes()[:99])
    (root / "notes").mkdir()
    return root


@pytest.fixture(scope="session")
def made(mixed, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    return report(mixed, out), out
