"""Costs of models as Markdown, CSV and JSON."""

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mdhr_jax.complexity.measure import WHOLE, Cost

SUFFIXES = (".md", ".csv", ".json")

_COLUMNS = (
    "module",
    "parameters",
    "forward, MFLOP a frame",
    "training, MFLOP a frame",
    "forward, MiB a clip",
    "training, MiB a batch",
)
_NOTES = """\
* One multiplication and one addition are 2 FLOP; 1 MFLOP is 10^6, 1 MiB 2^20 bytes. Counted is what XLA's
  cost analysis finds in the compiled program: elementwise operations are in it, what a convolution would
  multiply with its zero padding is not.
* *Forward* is the prediction of one clip, *training* forward and backward pass of one batch; of the whole
  model it is the training step as it runs, with augmentation, loss and optimiser. Stochastic depth is off in
  the modules' rows.
* Memory is what the compiler plans for intermediate values (`temp` of its memory analysis), without weights,
  optimiser state and inputs. Other devices' compilers plan otherwise. Modules' rows do not add up to the
  whole: their buffers share memory, and what is kept from one to the next counts in the whole only.
* Regions and AU extractors include the region classifiers.
"""


def markdown(costs: Sequence[Cost], about: Mapping[str, Any]) -> str:
    """One table of whole models, then one of the modules of each.

    Args:
        costs: of all modules, backbone after backbone, whole models among them.
        about: what was measured; see `mdhr_jax.complexity.__main__`.
    """
    whole = [cost for cost in costs if cost.module == WHOLE]
    text = [
        "# Size of the model",
        "",
        "Made by",
        "",
        "```",
        about["command"],
        "```",
        "",
        f"{about['dataset']}: {about['num_aus']} AUs, clips of {about['clip_length']} frames of "
        f"{about['image_size']} pixels, {about['batch_size']} clips a batch, {about['dtype']}; variant "
        f"`{about['variant']}`, `{about['modules']}`. JAX {about['jax']}, compiled for {about['device']}.",
        "",
        _NOTES,
        "## Backbones",
        "",
        *_table(("backbone", *_COLUMNS[1:]), [(f"`{cost.backbone}`", *_numbers(cost)) for cost in whole]),
    ]
    for total in whole:
        rows = [
            (cost.module if cost.module != WHOLE else f"**{WHOLE}**", *_numbers(cost))
            for cost in costs
            if cost.backbone == total.backbone
        ]
        text += ["", f"## `{total.backbone}`, module by module", "", *_table(_COLUMNS, rows)]
    return "\n".join(text) + "\n"


def _numbers(cost: Cost) -> tuple[str, ...]:
    return (
        f"{cost.parameters:,}",
        _significant(cost.flops_forward / 1e6),
        _significant(None if cost.flops_training is None else cost.flops_training / 1e6),
        _significant(cost.memory_forward / 2**20),
        _significant(None if cost.memory_training is None else cost.memory_training / 2**20),
    )


def _significant(value: float | None) -> str:
    """Three digits that count, and all of those before the point; ``-`` for what was not measured."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *("--:" for _ in header[1:])]
    return [f"| {' | '.join(row)} |" for row in (header, rule, *rows)]


def as_csv(costs: Sequence[Cost]) -> str:
    """Plain numbers: FLOP a frame and bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = list(Cost.__dataclass_fields__)
    writer.writerow(names)
    writer.writerows([getattr(cost, name) for name in names] for cost in costs)
    return text.getvalue()


def as_json(costs: Sequence[Cost], about: Mapping[str, Any]) -> str:
    """Plain numbers, FLOP a frame and bytes, with what was measured."""
    content = {"about": dict(about), "costs": [vars(cost) for cost in costs]}
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def check_suffix(path: Path) -> None:
    """Refuses a file of a kind that there is no writer for.

    Raises:
        ValueError: with the kinds there are.
    """
    if path.suffix not in SUFFIXES:
        raise ValueError(f"{path} must end in {', '.join(SUFFIXES)}")


def write(path: Path, costs: Sequence[Cost], about: Mapping[str, Any]) -> None:
    """Writes costs as the file's suffix says; the file appears whole or not at all.

    Raises:
        ValueError: the suffix is none of `SUFFIXES`.
    """
    check_suffix(path)
    text = {
        ".md": lambda: markdown(costs, about),
        ".csv": lambda: as_csv(costs),
        ".json": lambda: as_json(costs, about),
    }[path.suffix]()
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
