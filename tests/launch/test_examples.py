"""Commands that the documentation and the scripts show: the configuration fits the devices they ask for."""

import re
import shlex
from pathlib import Path

import pytest
from absl import flags
from ml_collections import config_flags

from mdhr_jax import config as config_lib
from mdhr_jax.training import weights
from mdhr_jax.training.experiment import check_batches
from tests.launch.started import REPOSITORY, run

pytestmark = pytest.mark.filterwarnings("ignore:.*load_module:DeprecationWarning")  # Of ml_collections.

DOCUMENTS = ["README.md", "launch/README.md", "docs/cluster.md"]
SCRIPTS = sorted(path.name for path in (REPOSITORY / "launch").glob("*.sh"))
# These say how many devices there are; the others have that from elsewhere, or train nothing themselves.
WITH_CONFIG = ["kubernetes.sh", "local.sh", "slurm.sh", "tpu_pod.sh"]
_COMMAND = re.compile(
    r"^\s*(?:\w+=\S+ )*(?:sbatch |launch/|python -m mdhr_jax\.main ).*--config[ =]", re.DOTALL
)


def commands(text: str) -> list[list[str]]:
    """Words of each command that is started with a configuration, its continued lines joined."""
    lines = re.sub(r" *\\\n\s*", " ", text).replace("example: ", "").splitlines()
    found = [shlex.split(line, comments=True) for line in lines if _COMMAND.match(line)]
    return [words[: words.index("|")] if "|" in words else words for words in found]


def value(words: list[str], option: str) -> int:
    """Of ``-n 2`` or ``--nodes=2``; 1 where it is not given."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word == option:
            return int(following)
        if word.startswith(f"{option}="):
            return int(word.partition("=")[2])
    return 1


def devices(words: list[str]) -> int:
    """How many devices a command asks for."""
    script = next((Path(word).name for word in words if word.startswith("launch/")), "")
    before = words[: words.index("--")] if "--" in words else words
    if script == "slurm.sh":
        return value(words, "--nodes") * value(words, "--gpus-per-node")
    if script == "kubernetes.sh":
        return value(before, "-p") * value(before, "-g")
    if script == "local.sh":
        return value(before, "-n") * value(before, "-d") * value(before, "-g")
    if script == "tpu_pod.sh":  # The example's name is that of its kind, with the number of chips.
        return int(before[before.index("-t") + 1].rpartition("-")[2])
    assert not script
    return 1


def check(words: list[str]) -> None:
    """Does with a command's configuration what a run does before it looks at devices and data."""
    start = next(number for number, word in enumerate(words) if word.startswith("--config"))
    arguments = ["main", *(word.replace("%a", "1") for word in words[start:])]
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=arguments)
    flags.DEFINE_string("workdir", None, "", flag_values=values)
    assert values(arguments) == ["main"]
    config = values["config"].value
    assert config is not None
    assert values["workdir"].value
    config_lib.validate(config)
    weights.check_config(config)
    check_batches(config, devices(words))


@pytest.fixture(autouse=True)
def from_the_clone(monkeypatch):
    """Where commands are started; the weights that they name are there."""
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(Path, "exists", lambda path: True)


@pytest.mark.parametrize("script", SCRIPTS)
def test_examples_of_scripts_fit_their_devices(script):
    shown = commands(run(f"launch/{script}", "-h").stdout)
    assert bool(shown) == (script in WITH_CONFIG)
    for words in shown:
        check(words)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_examples_of_documents_fit_their_devices(document):
    blocks = re.findall(r"^```\w*\n(.*?)^```", (REPOSITORY / document).read_text(), re.DOTALL | re.MULTILINE)
    shown = [words for block in blocks for words in commands(block)]
    assert shown or document == "launch/README.md"
    for words in shown:
        check([word for word in words if not re.fullmatch(r"NAME|ZONE", word)])


def test_a_command_that_does_not_fit_is_found_out():
    (words,) = commands(
        "sbatch --nodes=4 --gpus-per-node=4 launch/slurm.sh \\\n"
        "    --config configs/bp4d.py:fold=1,pretrained=weights/x --workdir runs/1  # Sixteen devices.\n"
    )
    with pytest.raises(ValueError, match=r"train.batch_size is 8, which 16 device.*\n.*eval.batch_size is 8"):
        check(words)
    (words,) = commands("python -m mdhr_jax.main --config configs/bp4d.py:fold=1 --workdir runs/1")
    with pytest.raises(ValueError, match="does not say where they are"):
        check(words)
