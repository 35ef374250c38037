"""What is measured: one backbone, number format and batch, ours and the reference's forms in turn.

A case is measured in a process of its own, see `apart`: its peak of memory is then its own.
"""

import contextlib
import dataclasses
import resource
import statistics
import sys
from pathlib import Path
from typing import Any

KINDS = ("train", "eval", "predict")
RUNS_OF_PEAK = 3
"""After so many runs memory is looked at."""


@dataclasses.dataclass(frozen=True)
class Case:
    """A measurement.

    Attributes:
        kind: ``train``: a training step; ``eval``: a forward pass over clips; ``predict``: a step on streams.
        dataset, backbone: the model.
        precision: our number format.
        batch: clips; streams where `kind` is ``predict``.
        clip_length: frames of a clip; new frames of each stream.
        repeats: counted measurements of each side.
        reference: checkout, as a path; none is timed beside where None.
        forms: of the reference, those that there are beside this precision.
        dense: computes the graph without jraph.
        again: whether compiling with the cache is timed too.
    """

    kind: str
    dataset: str
    backbone: str
    precision: str
    batch: int
    clip_length: int
    repeats: int
    reference: str | None = None
    forms: tuple[str, ...] = ()
    dense: bool = False
    again: bool = True

    @property
    def frames(self) -> int:
        """Frames that a run takes in."""
        return self.batch * self.clip_length

    @property
    def title(self) -> str:
        """In a word."""
        return f"{self.kind}, {self.backbone}, {self.precision}, {self.batch} x {self.clip_length}"


def measure(**fields: Any) -> dict[str, Any]:
    """Measures a case in this process.

    Args:
        **fields: of a `Case`.

    Returns:
        ``case``, ``frames``, ``ours`` and, for each form of the reference in ``reference``, its times or why
        it was skipped; ready for JSON.

    Raises:
        ValueError, OSError, ImportError: with what is wrong.
    """
    # Imported late: the process that lists cases stays small.
    import jax

    from mdhr_jax import facs, hardware
    from mdhr_jax.bench import timing
    from mdhr_jax.bench.ours import Ours, image_size, made_up, make_config
    from mdhr_jax.interop.comparison_inputs import make_inputs
    from mdhr_jax.interop.reference_checkout import BACKBONES
    from mdhr_jax.models.functional import FunctionalModel

    fields["forms"] = tuple(fields.get("forms", ()))
    case = Case(**fields)
    au_set = facs.get(case.dataset)
    size = image_size(case.backbone)
    inputs = make_inputs(au_set, case.batch, case.clip_length if case.kind != "predict" else 2, 0)
    inputs = dataclasses.replace(inputs, clips=inputs.clips.astype("float32"))
    config = make_config(au_set, case.backbone, case.precision, dense=case.dense)
    values = made_up(FunctionalModel.create(config)) if case.backbone in BACKBONES else None
    ours = Ours(config, values)
    if case.kind == "predict":
        compiled, runner = ours.streaming(case.batch, case.clip_length, size, again=case.again)
    else:
        build = ours.training if case.kind == "train" else ours.forward
        compiled, runner = build(inputs, again=case.again)
    timing.seconds_of(runner, RUNS_OF_PEAK)
    peak = _peak_bytes(jax.devices()[0])
    runners, reference = {"ours": runner}, []
    with contextlib.ExitStack() as stack:
        others = _others(case, inputs, values, stack)
        for form, made in others.items():
            if isinstance(made, str):
                reference.append({"form": form, "skipped": made})
            else:
                runners[form] = made[0]
        seconds = timing.alternate(runners, case.repeats)
        reference += [
            {
                "form": form,
                **_times(seconds[form], case.frames),
                "ratio": timing.ratio(seconds[form], seconds["ours"]),
                "spread": timing.spread(seconds[form], seconds["ours"]),
                "peak_bytes": others[form][1],
            }
            for form in runners.keys() - {"ours"}
        ]
    reference.sort(key=lambda found: case.forms.index(found["form"]))
    median = statistics.median(seconds["ours"])
    kind = jax.devices()[0].device_kind
    peaks = hardware.peak_flops(kind, case.precision), hardware.peak_bandwidth(kind)
    return {
        "case": dataclasses.asdict(case),
        "frames": case.frames,
        "ours": {
            **_times(seconds["ours"], case.frames),
            "compile_seconds": compiled.compile_seconds,
            "compile_again_seconds": compiled.again_seconds,
            "flops": compiled.flops,
            "bytes_accessed": compiled.bytes_accessed,
            "flops_per_second": compiled.flops / median,
            "bytes_per_second": _divided(compiled.bytes_accessed, median),
            "share_of_peak_flops": _divided(compiled.flops / median, peaks[0]),
            "share_of_peak_bandwidth": _divided(_divided(compiled.bytes_accessed, median), peaks[1]),
            "planned_bytes": compiled.planned_bytes,
            "peak_bytes": peak,
        },
        "reference": reference,
    }


def _others(case: Case, inputs: Any, values: Any, stack: contextlib.ExitStack) -> dict[str, Any]:
    """The reference's forms: a runner and the bytes that it needed, or why there is none."""
    if case.reference is None or not case.forms:
        return {}
    from mdhr_jax.bench import timing
    from mdhr_jax.bench.theirs import Theirs
    from mdhr_jax.interop.reference_checkout import (
        BACKBONES,
        cuda_stays_on_cpu,
        import_torch,
        open_checkout,
    )

    if case.backbone not in BACKBONES:
        return dict.fromkeys(case.forms, f"the reference has no {case.backbone}")
    if case.kind == "predict":
        return dict.fromkeys(case.forms, "the reference has no streams")
    import jax

    checkout = open_checkout(Path(case.reference), inputs.au_set)
    torch = import_torch()
    on_gpu = jax.default_backend() == "gpu"
    if on_gpu and not torch.cuda.is_available():
        return dict.fromkeys(case.forms, "ours runs on a GPU, and PyTorch finds none")
    device = "cuda" if on_gpu else "cpu"
    if device == "cpu":
        stack.enter_context(cuda_stays_on_cpu())
    found: dict[str, Any] = {}
    for form in case.forms:
        try:
            theirs = Theirs(checkout, case.backbone, form, device)
            theirs.load(values)
            theirs.peak_bytes()
            runner = theirs.training(inputs) if case.kind == "train" else theirs.forward(inputs)
            timing.seconds_of(runner, 1)
            found[form] = runner, theirs.peak_bytes()
        except Exception as error:  # What a compiler of another project may raise is not ours to list.
            if form == "released":
                raise
            lines = str(error).strip().splitlines() or [""]
            found[form] = f"does not run here: {type(error).__name__}: {lines[0][:120]}"
    return found


def peak_of_reference(**fields: Any) -> int:
    """Bytes that this process needs at most to do a case on CPUs with one form of the reference alone.

    Args:
        **fields: of a `Case`; `forms` has one.

    Raises:
        ValueError, OSError, ImportError: with what is wrong.
    """
    from mdhr_jax import facs
    from mdhr_jax.bench import timing
    from mdhr_jax.bench.theirs import Theirs
    from mdhr_jax.interop.comparison_inputs import make_inputs
    from mdhr_jax.interop.reference_checkout import cuda_stays_on_cpu, open_checkout

    case = Case(**fields)
    au_set = facs.get(case.dataset)
    inputs = make_inputs(au_set, case.batch, case.clip_length, 0)
    with cuda_stays_on_cpu():
        checkout = open_checkout(Path(str(case.reference)), au_set)
        theirs = Theirs(checkout, case.backbone, case.forms[0], "cpu")
        runner = theirs.training(inputs) if case.kind == "train" else theirs.forward(inputs)
        timing.seconds_of(runner, RUNS_OF_PEAK)
    return _resident_peak()


def _times(seconds: tuple[float, ...], frames: int) -> dict[str, Any]:
    median = statistics.median(seconds)
    return {"seconds": list(seconds), "median": median, "frames_per_second": frames / median}


def _divided(above: float | None, below: float | None) -> float | None:
    return None if above is None or below is None else above / below


def _peak_bytes(device: Any) -> int:
    """Most memory that the device has given away; where it does not tell, this process's resident peak."""
    told = (device.memory_stats() or {}).get("peak_bytes_in_use")
    if told:
        return int(told)
    return _resident_peak()


def _resident_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
