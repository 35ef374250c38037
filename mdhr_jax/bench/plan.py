"""Everything that a call of the command measures, one task after the other, as one record for JSON."""

import dataclasses
import datetime
import importlib.util
import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mdhr_jax.bench import apart, predicting, report
from mdhr_jax.bench.cases import KINDS, Case
from mdhr_jax.bench.forms import FORMS, NAMES, NEIGHBORS
from mdhr_jax.models.mdhr import BACKBONES
from mdhr_jax.progress import Progress


@dataclasses.dataclass(frozen=True)
class Options:
    """What is measured, see the command's help; None is chosen by the device."""

    mode: str
    dataset: str | None
    backbone: tuple[str, ...]
    precision: tuple[str, ...] | None
    batch: tuple[int, ...] | None
    clip_length: int
    repeats: int
    reference: Path | None
    forms: tuple[str, ...] | None
    dense_graph: bool
    compile_again: bool
    measure_ceilings: bool
    data: Path | None
    fold: int
    workers: tuple[int, ...] | None
    frames: int
    video: Path | None
    video_frames: int


def check(options: Options) -> None:
    """Refuses what could not succeed, before anything is measured.

    Raises:
        ValueError, OSError: with what was found and expected.
    """
    for name in ("clip_length", "repeats", "frames", "video_frames"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, found {getattr(options, name)}")
    for name in ("batch", "workers"):
        if min(getattr(options, name) or (1,)) < 1:
            raise ValueError(f"--{name} must be at least 1, found {min(getattr(options, name))}")
    for name, found, known in (
        ("backbone", options.backbone, tuple(BACKBONES)),
        ("precision", options.precision or (), tuple(FORMS)),
        ("forms", options.forms or (), NAMES),
    ):
        if unknown := [word for word in found if word not in known]:
            raise ValueError(f"--{name} knows {', '.join(known)}, found {', '.join(unknown)}")
    if options.video is not None and not options.video.is_file():
        raise FileNotFoundError(f"--video {options.video} is not there")
    if options.reference is not None:
        if not options.reference.is_dir():
            raise FileNotFoundError(f"there is no folder {options.reference} for --reference")
        if not (options.reference / "model").is_dir():
            raise FileNotFoundError(
                f"{options.reference} is no checkout of the reference (it has no folder model); give the "
                "folder of a clone of CVI-SZU/MDHR"
            )
        for precision in options.precision or ():
            if not _forms(options, precision):
                raise ValueError(
                    f"beside {precision} the reference is timed as {', '.join(FORMS[precision])}, found "
                    f"--forms {', '.join(options.forms or ())}"
                )
        least = 2 * NEIGHBORS + 1
        if options.clip_length < least:
            raise ValueError(
                f"the reference takes clips of {least} frames or more, found {options.clip_length}"
            )


def measure(
    options: Options,
    command: str,
    *,
    shown: Callable[[str], None],
    kept: Callable[[dict[str, Any]], None] = lambda _: None,
) -> dict[str, Any]:
    """Measures, each task in a process of its own.

    What fails is in the record with ``failed`` and the reason; the rest goes on.

    Args:
        options: what to measure.
        command: the command line, for the record.
        shown: called with each result's lines when it is there.
        kept: called with the record after every result.

    Raises:
        RuntimeError: there is no device to measure.
    """
    facts = apart.run("facts", {})
    record: dict[str, Any] = {
        "format": report.FORMAT,
        "command": command,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "facts": facts,
        "ceilings": [],
        "cases": [],
        "predicting": [],
        "counting": None,
        "input": None,
        "epochs": [],
    }
    for line in _left_out(options):
        shown(line)
    if not facts["jraph"]:
        shown("jraph is not installed: the graph is computed densely, which gives the same")
    tasks = list(_tasks(options, facts))
    with Progress(len(tasks), unit="tasks", label="measuring") as progress:
        for place, task, arguments in tasks:
            progress.update(0, note=_words(task, arguments))
            try:
                found = apart.run(task, arguments)
            except RuntimeError as error:
                found = {**_failed(task, arguments), "failed": str(error)}
            if isinstance(record[place], list) and not isinstance(found, list):
                record[place].append(found)
            else:
                record[place] = found
            shown(report.as_text(record, place))
            kept(record)
            progress.update()
    return record


def _tasks(options: Options, facts: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    """Place in the record, task and arguments."""
    accelerated = facts["platform"] != "cpu"
    batches = options.batch or ((8,) if accelerated else (1,))
    precisions = options.precision or (tuple(FORMS) if accelerated else ("float32",))
    reference = None if options.reference is None else str(options.reference)
    dense = options.dense_graph or not facts["jraph"]
    of_data = {"fold": options.fold}
    if options.data is not None:
        of_data |= {"data": str(options.data), "dataset": options.dataset or "bp4d"}
    chosen = {options.mode} if options.mode != "all" else {*KINDS, "counting", "input", "epoch"}
    tasks: list[tuple[str, str, dict[str, Any]]] = []
    if options.measure_ceilings:
        tasks.append(("ceilings", "ceilings", {"precisions": precisions}))
    for kind in KINDS:
        if kind not in chosen:
            continue
        for backbone in options.backbone:
            for precision in precisions:
                forms = _forms(options, precision)
                for batch in batches:
                    case = Case(
                        kind=kind,
                        dataset=options.dataset or "bp4d",
                        backbone=backbone,
                        precision=precision,
                        batch=batch,
                        clip_length=options.clip_length,
                        repeats=options.repeats,
                        # Which has no streams.
                        reference=None if kind == "predict" else reference,
                        forms=() if kind == "predict" else forms,
                        dense=dense,
                        again=options.compile_again,
                    )
                    tasks.append(("cases", "case", dataclasses.asdict(case)))
    if "predict" in chosen and reference is not None and not _left_out(options):
        for backbone in options.backbone:
            arguments = {"reference": reference, "backbone": backbone, "repeats": options.repeats}
            video = None if options.video is None else str(options.video)
            arguments |= {"video": video, "video_frames": options.video_frames}
            tasks.append(("predicting", "predicting", {"dataset": options.dataset or "bp4d", **arguments}))
    if chosen & {"counting", "eval"}:
        tasks.append(("counting", "counting", {"dataset": options.dataset or "bp4d", "reference": reference}))
    if "input" in chosen:
        workers = options.workers or tuple(sorted({1, facts["cores"] or 1}))
        tasks.append(("input", "input", {"workers": workers, "frames": options.frames, **of_data}))
    if "epoch" in chosen:
        for backbone, precision, batch in itertools.product(options.backbone, precisions, batches):
            arguments = {
                "backbone": backbone,
                "precision": precision,
                "batch": batch,
                "dense": dense,
                "repeats": options.repeats,
            }
            arguments |= {"clip_length": options.clip_length, **of_data}
            if options.workers:
                arguments["workers"] = options.workers[-1]
            tasks.append(("epochs", "epoch", arguments))
    return tasks


def _forms(options: Options, precision: str) -> tuple[str, ...]:
    """Forms of the reference that are timed beside a number format of ours."""
    return tuple(form for form in FORMS[precision] if options.forms is None or form in options.forms)


def _left_out(options: Options) -> list[str]:
    """Why predicting beside the reference, which has no streams, is not measured, where it is asked for."""
    if options.mode not in ("predict", "all") or options.reference is None:
        return []
    needed = predicting.NEEDS + (predicting.NEEDS_OF_VIDEO if options.video is not None else ())
    lacking = [name for name in needed if importlib.util.find_spec(name) is None]
    if not lacking:
        return []
    return [f"predicting beside the reference is left out: {', '.join(lacking)} is not installed"]


def _words(task: str, arguments: dict[str, Any]) -> str:
    return Case(**arguments).title if task == "case" else task


def _failed(task: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"case": arguments} if task == "case" else {"task": task, "arguments": arguments}


def failures(record: Mapping[str, Any]) -> list[str]:
    """Why what could not be measured could not; forms of the reference that were skipped do not count."""
    parts = [*record["cases"], *record["predicting"], *record["epochs"]]
    parts += [record[place] for place in ("ceilings", "counting", "input") if isinstance(record[place], dict)]
    return [part["failed"] for part in parts if "failed" in part]
