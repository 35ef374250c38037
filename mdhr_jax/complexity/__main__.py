"""Parameters, FLOP and activation memory of each module: ``python -m mdhr_jax.complexity``.

Nothing is trained and no weight is allocated: programs are compiled from shapes, some minutes a backbone, and
what their compiler says of them is printed. Without ``--config`` all backbones are measured in the full model
on BP4D.
"""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mdhr_jax import commands


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.complexity",
        description=__doc__,
        epilog="Further options --config.KEY=VALUE change the configuration.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--config", metavar="FILE[:ARGUMENT]", help="such as configs/tables.py:table=3,row=mfd+afe")
    add(
        "--backbones",
        nargs="+",
        metavar="NAME",
        help="measure each of these in place of the configuration's own (all, where there is no --config)",
    )
    add("--forward-only", action="store_true", help="leave out training, which takes most of the time")
    add("--out", nargs="+", type=Path, default=[], metavar="FILE", help="also write .md, .csv or .json files")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, 2 after a mistake, 130 after Ctrl-C."""
    given = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    arguments, overrides = parser.parse_known_args(given)
    if strange := [option for option in overrides if not option.startswith("--config.")]:
        parser.error(f"unexpected: {' '.join(strange)}")

    # Imported late: wrong arguments are reported at once.
    from mdhr_jax.complexity import tables

    def run() -> None:
        for path in arguments.out:
            tables.check_suffix(path)
        costs, about = _measure(arguments, overrides)
        about["command"] = shlex.join(["python", "-m", "mdhr_jax.complexity", *given])
        for path in arguments.out:
            tables.write(path, costs, about)
        print(tables.markdown(costs, about), end="")

    return commands.finish(run)


def _measure(arguments: argparse.Namespace, overrides: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    """The costs of all backbones asked for, and what they were measured of."""
    import jax

    from mdhr_jax import config as config_lib
    from mdhr_jax import facs
    from mdhr_jax.complexity import measure
    from mdhr_jax.models.mdhr import BACKBONES
    from mdhr_jax.progress import Progress
    from mdhr_jax.tables import plan, rows

    named, backbones = arguments.config, arguments.backbones
    if named is None:
        named, backbones = str(plan.config_file()), backbones or list(BACKBONES)
    file, _, argument = named.partition(":")
    config = plan.load_config(file, argument, overrides)
    chosen = []
    for backbone in backbones or [config.model.backbone]:
        config.model.backbone = backbone
        config_lib.validate(config)
        chosen.append(config_lib.model_config(config))
    costs = []
    total = sum(map(measure.count_steps, chosen))
    with Progress(total, unit="programs", label="compiling") as progress:
        for model in chosen:
            config.model.backbone = model.backbone
            for cost in measure.measure(config, training=not arguments.forward_only):
                costs.append(cost)
                progress.update(note=f"{cost.backbone}, {cost.module}")
    au_set = facs.get(config.dataset)
    about = {
        "command": "",
        "dataset": au_set.title,
        "num_aus": au_set.num_aus,
        "clip_length": config.data.clip_length,
        "image_size": config.data.image_size,
        "batch_size": config.train.batch_size,
        "dtype": config.model.dtype,
        "variant": config.model.variant,
        "modules": rows.model_name(config).partition("+")[2] or "backbone alone",
        "jax": jax.__version__,
        "device": jax.default_backend(),
    }
    return costs, about


if __name__ == "__main__":
    sys.exit(main())
