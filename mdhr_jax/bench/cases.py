"""What is measured: one backbone, number format and batch, ours and the reference's forms in turn.

A case is measured in a process of its own, see `apart`, and each form of the reference in another, see
`elsewhere`: their peaks of memory are then their own, and so are their allocators.
"""

import dataclasses
import statistics
from typing import Any

from mdhr_jax.bench import timing
from mdhr_jax.bench.elsewhere import Elsewhere
from mdhr_jax.bench.memory import resident_peak
from mdhr_jax.interop.reference_checkout import BACKBONES as REFERENCE_BACKBONES

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
    from mdhr_jax.bench.ours import Ours, made_up, make_config
    from mdhr_jax.interop.comparison_inputs import make_inputs
    from mdhr_jax.interop.torch_weights import IMAGE_SIZE
    from mdhr_jax.models.functional import FunctionalModel

    fields["forms"] = tuple(fields.get("forms", ()))
    case = Case(**fields)
    au_set = facs.get(case.dataset)
    inputs = make_inputs(au_set, case.batch, case.clip_length if case.kind != "predict" else 2, 0)
    inputs = dataclasses.replace(inputs, clips=inputs.clips.astype("float32"))
    config = make_config(au_set, case.backbone, case.precision, dense=case.dense)
    known = case.backbone in REFERENCE_BACKBONES
    ours = Ours(config, made_up(FunctionalModel.create(config)) if known else None)
    if case.kind == "predict":
        compiled, runner = ours.streaming(case.batch, case.clip_length, IMAGE_SIZE, again=case.again)
    else:
        build = ours.training if case.kind == "train" else ours.forward
        compiled, runner = build(inputs, again=case.again)
    runner.seconds(RUNS_OF_PEAK)
    peak = _peak_bytes(jax.devices()[0])
    of_ours, reference = _beside(case, runner)
    if not of_ours:
        of_ours = timing.alternate({"ours": runner}, case.repeats)["ours"]
    median = statistics.median(of_ours)
    kind = jax.devices()[0].device_kind
    peaks = hardware.peak_flops(kind, case.precision), hardware.peak_bandwidth(kind)
    return {
        "case": dataclasses.asdict(case),
        "frames": case.frames,
        "ours": {
            **_times(of_ours, case.frames),
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


def _beside(case: Case, ours: timing.Timed) -> tuple[tuple[float, ...], list[dict[str, Any]]]:
    """Times ours in turn with each form of the reference.

    Returns:
        Seconds of ours, of all measurements, and what was found of each form.
    """
    if case.reference is None:
        return (), []
    if case.backbone not in REFERENCE_BACKBONES:
        return (), [{"form": form, "skipped": f"the reference has no {case.backbone}"} for form in case.forms]
    import jax

    device = "cuda" if jax.default_backend() == "gpu" else "cpu"
    of_ours: list[float] = []
    reference: list[dict[str, Any]] = []
    for form in case.forms:
        try:
            with Elsewhere(dataclasses.asdict(case), form, device, RUNS_OF_PEAK) as theirs:
                seconds = timing.alternate({"ours": ours, form: theirs}, case.repeats, settle=True)
                peak = theirs.peak_bytes
        except RuntimeError as error:
            reference.append({"form": form, "skipped": f"does not run here: {str(error)[:160]}"})
            continue
        of_ours += seconds["ours"]
        found = _times(seconds[form], case.frames)
        ratio, spread = (call(seconds[form], seconds["ours"]) for call in (timing.ratio, timing.spread))
        reference.append({"form": form, **found, "ratio": ratio, "spread": spread, "peak_bytes": peak})
    return tuple(of_ours), reference


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
    return resident_peak()
