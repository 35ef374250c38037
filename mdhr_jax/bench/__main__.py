"""Measures this project, beside the PyTorch reference where it is given: ``python -m mdhr_jax.bench``.

train      a training step: forward and backward pass, running statistics, AdamW
eval       a forward pass over clips, and what counting a whole evaluation costs beside it
predict    a step on streams of frames; predicting as users do, beside the reference's windows
counting   what counting a whole evaluation costs, alone
input      frames that the input makes ready in a second
epoch      training steps fed by the input, against the same steps on one batch
memory     peak memory of training runs against videos and epochs (takes long, not part of `all`)
report     nothing: puts the records of --also into the document of --report
all        everything else
"""

import argparse
import json
import os
import shlex
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from mdhr_jax import commands

_MODES = ("train", "eval", "predict", "counting", "input", "epoch", "memory", "report", "all")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _words(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"expected whole numbers, found {text!r}") from error


class _Joined(argparse.Action):
    """``--batch 1 2`` and ``--batch 1,2`` alike."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, tuple(value for group in values or () for value in group))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m mdhr_jax.bench",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("mode", nargs="?", choices=_MODES, default="all", metavar="MODE", help="one of the above (all)")

    def several(name: str, kind: Callable[[str], tuple], text: str, **more: object) -> None:
        add(name, nargs="+", type=kind, action=_Joined, help=text, **more)  # pyright: ignore[reportArgumentType]

    add(
        "--reference",
        type=Path,
        metavar="CHECKOUT",
        help="clone of CVI-SZU/MDHR to be timed in turn with ours",
    )
    several("--forms", _words, "of the reference: released, channels_last, compile, amp, amp+compile (all)")
    several("--backbone", _words, "(resnet50,swin_base)", default=("resnet50", "swin_base"))
    several("--precision", _words, "float32, bfloat16 (both; on CPUs float32)")
    several("--batch", _numbers, "clips of a batch; streams of `predict` (8; on CPUs 1)", metavar="N")
    add("--clip-length", type=int, default=16, metavar="T", help="frames of a clip (16)")
    add("--repeats", type=int, default=5, help="measurements of each side (5)")
    add("--measure-ceilings", action="store_true", help="also what matrix products and copies reach here")
    add("--dense-graph", action="store_true", help="compute the graph without jraph")
    add("--no-cache", dest="compile_again", action="store_false", help="do not time compiling with the cache")
    add("--json", type=Path, metavar="FILE", help="write everything measured")
    add(
        "--report",
        type=Path,
        metavar="FILE",
        help="put the tables into a Markdown document, in place of this device's there",
    )
    add("--also", type=Path, nargs="+", default=(), metavar="FILE", help="records to report with this one")
    group = parser.add_argument_group("input and epoch")
    add = group.add_argument
    add("--data", type=Path, metavar="DIR", help="directory of data sets; by default faces are drawn")
    add("--dataset", help="which of them, and whose AUs are benchmarked (bp4d)")
    add("--fold", type=int, default=1, help="whose training part is read (1)")
    add("--workers", nargs="+", type=_numbers, action=_Joined, help="threads that decode (1, and all cores)")
    add("--frames", type=int, default=4096, help="read with each number of threads (4096)")
    group = parser.add_argument_group("predict")
    add = group.add_argument
    add("--video", type=Path, metavar="FILE", help="with faces in it, to time the path from file to rows too")
    add("--video-frames", type=int, default=64, metavar="N", help="taken of it (64)")
    group = parser.add_argument_group("memory")
    add = group.add_argument
    add("--videos", nargs="+", type=_numbers, action=_Joined, default=(12, 48, 192), help="(12,48,192)")
    add("--epochs", nargs="+", type=_numbers, action=_Joined, default=(32, 128, 512), help="(32,128,512)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line.

    Returns:
        0; 1 where something could not be measured; 2 after a user's mistake.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    chosen = _parser().parse_args(given)
    if chosen.mode == "memory":
        return commands.finish(lambda: _memory(chosen))
    if chosen.mode == "report":
        return commands.finish(lambda: _report(chosen))
    command = shlex.join(["python", "-m", "mdhr_jax.bench", *given])
    return commands.finish(lambda: _measure(chosen, command))


def _memory(chosen: argparse.Namespace) -> int:
    # Nothing large is imported: the peak of a process counts what this one held when it started it.
    from mdhr_jax.bench import memory

    if not Path(memory.CONFIG).exists():
        raise FileNotFoundError(f"{memory.CONFIG} is not here; run this from the clone of the project")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            memory.grow(chosen.videos, chosen.epochs, Path(scratch))
        except RuntimeError as error:
            print(f"error: {error}", file=sys.stderr)
            return commands.FAILED
    return commands.DONE


def _report(chosen: argparse.Namespace) -> None:
    from mdhr_jax.bench import report

    if chosen.report is None or not chosen.also:
        raise ValueError("report takes records (--also FILE ...) and a document (--report FILE)")
    report.check_path(chosen.report)
    report.write(chosen.report, [report.read(path) for path in chosen.also])


def _measure(chosen: argparse.Namespace, command: str) -> int:
    from mdhr_jax.bench import plan, report

    options = plan.Options(
        mode=chosen.mode,
        dataset=chosen.dataset,
        backbone=chosen.backbone,
        precision=chosen.precision,
        batch=chosen.batch,
        clip_length=chosen.clip_length,
        repeats=chosen.repeats,
        reference=chosen.reference,
        forms=chosen.forms,
        dense_graph=chosen.dense_graph,
        compile_again=chosen.compile_again,
        measure_ceilings=chosen.measure_ceilings,
        data=chosen.data,
        fold=chosen.fold,
        workers=chosen.workers,
        frames=chosen.frames,
        video=chosen.video,
        video_frames=chosen.video_frames,
    )
    plan.check(options)
    if chosen.report is not None:
        report.check_path(chosen.report)
    if chosen.json is not None and not chosen.json.absolute().parent.is_dir():
        raise FileNotFoundError(f"there is no folder {chosen.json.parent} for --json {chosen.json.name}")

    others = [report.read(path) for path in chosen.also]

    def kept(record: dict) -> None:
        # After every task: an interruption loses little.
        if chosen.json is not None:
            part = chosen.json.with_name(f"{chosen.json.name}.part")
            part.write_text(json.dumps(record, indent=1), encoding="utf-8")
            os.replace(part, chosen.json)

    record = plan.measure(options, command, shown=lambda text: print(f"\n{text}", flush=True), kept=kept)
    if chosen.report is not None:
        report.write(chosen.report, [*others, record])
    return commands.FAILED if plan.failures(record) else commands.DONE


if __name__ == "__main__":
    sys.exit(main())
