"""Which runs make some tables, in which order, in which directories.

A run's directory is ``RUNS/<data set>/<model>/fold<n>-seed<n>-<protocol>``, with the model named by what it
consists of (`rows.model_name`), not by a table: rows that several tables share are trained once.
"""

import dataclasses
import importlib.util
import itertools
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from absl import flags
from ml_collections import ConfigDict, config_flags

import mdhr_jax
from mdhr_jax import config as config_lib
from mdhr_jax import facs
from mdhr_jax.data import layout
from mdhr_jax.paper import SWITCHES, Row
from mdhr_jax.tables import rows
from mdhr_jax.training.workdir import RESULT_FILE

PROTOCOLS = ("paper", "honest")
"""How a run chooses its checkpoint: on the test fold, or on a share of the training folds."""

CONFIG_FILE = "configs/tables.py"
_PREFIX = "--config."

_START_TABLE = "1"  # Its rows are what rows of table 2 can start from.

# What rows differ in, or what the command line of the tables says: no further option may change it.
_DECIDED = (
    *(f"model.{name}" for name in SWITCHES),
    *("dataset", "fold", "seed", "mode", "eval.protocol", "data.dir", "model.pretrained", "model.init_from"),
)


@dataclasses.dataclass(frozen=True)
class Request:
    """What is asked for.

    Attributes:
        tables: names of tables.
        runs: directory of all runs.
        data: data directory.
        weights: directory of ImageNet weights, one folder a backbone, or ``none`` to start from random ones.
        rows: names of rows; those that a table does not have are left out of it. Empty: all.
        folds, seeds, protocols: each row is run with each of them.
        laptop: small models on drawn faces.
        overrides: further options, ``--config.KEY=VALUE``, for every run.
    """

    tables: tuple[str, ...]
    runs: Path
    data: Path
    weights: str = "weights"
    rows: tuple[str, ...] = ()
    folds: tuple[int, ...] = (1, 2, 3)
    seeds: tuple[int, ...] = (0,)
    protocols: tuple[str, ...] = ("paper",)
    laptop: bool = False
    overrides: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """One training run.

    Attributes:
        rows: tables and rows asked for that it stands for; none where only another run needs it.
        fold, seed, protocol: of the run.
        config: resolved.
        directory: where it lies.
        arguments: of ``python``, to train it.
        needs: directory of the run whose weights it starts from.
    """

    rows: tuple[tuple[str, str], ...]
    fold: int
    seed: int
    protocol: str
    config: ConfigDict
    directory: Path
    arguments: tuple[str, ...]
    needs: Path | None = None

    @property
    def label(self) -> str:
        """A short name for people."""
        model = self.directory.parent.name
        names = (
            ", ".join(f"table {table} {row}" for table, row in self.rows)
            or f"{model} ({self.config.dataset})"
        )
        return f"{names}, fold {self.fold}, seed {self.seed}, {self.protocol}"

    @property
    def command(self) -> str:
        """The command line that trains it."""
        return shlex.join(("python", *self.arguments))

    @property
    def condition(self) -> str:
        """A command that fails while the run that this one needs is not finished; empty where it needs none.

        A training that is told to stop ends without an error, and leaves checkpoints to start from.
        """
        return "" if self.needs is None else shlex.join(("test", "-e", str(self.needs / RESULT_FILE)))


def make(request: Request) -> list[Run]:
    """The runs of a request, each once, in the order to run them.

    Seeds come one after the other, so do folds: after the first fold every row has a number. A run that
    another starts from comes before it.

    Raises:
        ValueError: something asked for does not exist or contradicts itself.
    """
    _check(request)
    planned: dict[Path, Run] = {}
    once = dict.fromkeys  # What is said twice is meant once.
    asked = itertools.product(
        once(request.protocols), once(request.seeds), once(request.folds), once(request.tables)
    )
    for protocol, seed, fold, table in asked:
        for row in _chosen(request, table):
            _add(planned, request, table, row, fold, seed, protocol)
    return list(planned.values())


def left_out(request: Request) -> list[str]:
    """Rows that were asked for and have no laptop scale, such as ``table 1 swin``."""
    if not request.laptop:
        return []
    return [
        f"table {table} {row.name}"
        for table in request.tables
        for row in rows.ROWS[table]
        if not _fits_laptop(row) and (not request.rows or row.name in request.rows)
    ]


def load_config(file: str | Path, argument: str, overrides: Sequence[str] = ()) -> ConfigDict:
    """What ``--config FILE:ARGUMENT`` and further ``--config.KEY=VALUE`` give in `mdhr_jax.main`.

    Raises:
        ValueError: the argument or an option is not understood.
        FileNotFoundError: there is no such file.
    """
    spec = importlib.util.spec_from_file_location("tables_config", file)
    if not Path(file).is_file() or spec is None or spec.loader is None:
        raise FileNotFoundError(f"{file} is not here; run this from the clone of the project")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return _override(module.get_config(argument), overrides)


def config_file() -> Path:
    """The file of the rows' configurations: of the working directory, else of the clone this package lies in.

    Raises:
        FileNotFoundError: it is in neither.
    """
    inside = Path(mdhr_jax.__file__).parents[1] / CONFIG_FILE
    for path in (Path(CONFIG_FILE), inside):
        if path.is_file():
            return path
    raise FileNotFoundError(f"{CONFIG_FILE} is not here; run this from the clone of the project")


def check_ingredients(planned: Iterable[Run], weights: str) -> None:
    """Looks, before anything starts, for what runs that have not begun will read.

    Args:
        planned: the runs that are to be started or continued.
        weights: as in `Request`.

    Raises:
        ValueError: a configuration is wrong.
        FileNotFoundError: backbone weights or data are missing; the message says how to make them.
    """
    missing: dict[str, str] = {}
    for run in planned:
        config_lib.validate(run.config)
        if "generate" not in run.config.data:
            layout.find_dataset(run.config.data.dir, facs.get(run.config.dataset))
        path = run.config.model.pretrained
        if path and path != config_lib.SCRATCH and not Path(path).exists():
            missing[path] = run.config.model.backbone
    if missing:
        lines = [
            f"  python -m mdhr_jax.convert WEIGHTS.pth {path} --backbone {backbone}"
            for path, backbone in missing.items()
        ]
        raise FileNotFoundError(
            f"ImageNet weights are missing in {weights}; convert a torchvision or official Swin file once:\n"
            + "\n".join(lines)
            + "\nName another folder with --weights DIR, or start from random weights with --weights none."
        )


def _check(request: Request) -> None:
    for table in request.tables:
        rows.check_table(table)
    known = {row.name for table in request.tables for row in rows.ROWS[table]}
    if unknown := [name for name in request.rows if name not in known]:
        listed = "\n".join(
            f"  table {table}: {', '.join(row.name for row in rows.ROWS[table])}" for table in request.tables
        )
        raise ValueError(f"no table asked for has the row {', '.join(unknown)}; there are\n{listed}")
    if "," in str(request.runs):
        raise ValueError(
            f"{request.runs}: a comma in this path would be taken for the end of a config argument"
        )
    for fold in request.folds:
        facs.part_tested(fold)
    for protocol in request.protocols:
        if protocol not in PROTOCOLS:
            raise ValueError(f"there is no protocol {protocol!r}; choose one of {', '.join(PROTOCOLS)}")
    for option in request.overrides:
        key, separator, _ = option.removeprefix(_PREFIX).partition("=")
        if not option.startswith(_PREFIX) or not separator:
            raise ValueError(f"{option} is not understood; expected {_PREFIX}KEY=VALUE")
        if key in _DECIDED:
            raise ValueError(
                f"{option}: {key} follows from the row or from an option of this command, and cannot be "
                "changed for all runs; `python -m mdhr_jax.main` trains single runs of any kind"
            )
    if request.laptop and not any(_chosen(request, table) for table in request.tables):
        raise ValueError(f"no laptop scale: {', '.join(left_out(request))} take images of 224 pixels only")


def _chosen(request: Request, table: str) -> list[Row]:
    return [
        row
        for row in rows.ROWS[table]
        if (not request.rows or row.name in request.rows) and (not request.laptop or _fits_laptop(row))
    ]


def _fits_laptop(row: Row) -> bool:
    return (row.settings or SWITCHES)["backbone"] == SWITCHES["backbone"]


def _add(
    planned: dict[Path, Run], request: Request, table: str, row: Row, fold: int, seed: int, protocol: str
) -> None:
    needs = None
    if row.finetuned:
        source = row.name.removesuffix(rows.FROM_BP4D)
        start = _make_run(request, _START_TABLE, source, fold, seed, protocol)
        planned.setdefault(start.directory, start)
        needs = start.directory
    run = _make_run(request, table, row.name, fold, seed, protocol, needs)
    known = planned.get(run.directory, run)
    # A dictionary keeps the place of a key whose value is replaced.
    planned[run.directory] = dataclasses.replace(known, rows=(*known.rows, (table, row.name)))


def _make_run(
    request: Request, table: str, row: str, fold: int, seed: int, protocol: str, needs: Path | None = None
) -> Run:
    scale = ",scale=laptop" if request.laptop else ""
    argument = f"table={table},row={row},fold={fold},seed={seed}{scale}"
    options = [f"--config.data.dir={request.data}"]
    if needs is not None:
        argument += f",init_from={needs}"
    elif not request.laptop:
        options.append(f"--config.model.pretrained={_weights(request, table, row)}")
    file = config_file()
    if "protocol" in load_config(file, argument).eval:
        options.append(f"--config.eval.protocol={protocol}")
    elif protocol != PROTOCOLS[0]:
        raise ValueError(
            f"protocol {protocol!r} needs config.eval.protocol, which {CONFIG_FILE} does not have"
        )
    options += request.overrides
    config = load_config(file, argument, options)
    directory = (
        request.runs / config.dataset.lower() / rows.model_name(config) / f"fold{fold}-seed{seed}-{protocol}"
    )
    arguments = (
        "-m",
        "mdhr_jax.main",
        "--config",
        f"{file}:{argument}",
        "--workdir",
        str(directory),
        *options,
    )
    return Run((), fold, seed, protocol, config, directory, arguments, needs)


def _weights(request: Request, table: str, row: str) -> str:
    if request.weights == config_lib.SCRATCH:
        return config_lib.SCRATCH
    backbone = (rows.find(table, row).settings or SWITCHES)["backbone"]
    return str(Path(request.weights) / str(backbone))


def _override(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
    """Sets keys as `mdhr_jax.main` does, by the same parser."""
    values = flags.FlagValues()
    argv = [sys.argv[0], *overrides]
    try:
        config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
        values(argv)
    except (flags.Error, ValueError, KeyError, AttributeError, TypeError) as error:
        # The parser quotes what it passes on, line ends included.
        text = str(error).replace("\\n", " ").replace("\\'", "'")
        text = text[1:-1] if text[:1] in "'\"" and text[:1] == text[-1:] else text
        raise ValueError(f"{' '.join(overrides)}: {text}; mdhr_jax/config.py lists all keys") from None
    return config
