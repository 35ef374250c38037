"""Runs what `python -m mdhr_jax.compare` is asked for and collects its report."""

import contextlib
import dataclasses
import importlib.metadata
import platform
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from mdhr_jax import __version__, facs, hardware
from mdhr_jax.interop import (
    comparison,
    comparison_report,
    conversion,
    files,
    measurements,
    side_by_side,
    speed,
    torch_side,
)
from mdhr_jax.interop.comparison_inputs import Inputs, make_inputs, parameter_values, rounded
from mdhr_jax.interop.comparison_report import Table
from mdhr_jax.interop.jax_side import JaxSide, JaxTraining
from mdhr_jax.interop.measurements import Decisions, Measurements
from mdhr_jax.interop.reference_checkout import Checkout, cuda_stays_on_cpu, import_torch, open_checkout
from mdhr_jax.interop.side_by_side import Trainee
from mdhr_jax.interop.torch_side import TorchSide, TorchTraining
from mdhr_jax.interop.torch_weights import Tensors, arrays_from_torch, reference_config
from mdhr_jax.models.functional import FunctionalModel
from mdhr_jax.models.mdhr import MDHRConfig
from mdhr_jax.progress import Progress, announce

_VERSIONED = ("jax", "flax", "optax", "numpy")


@dataclasses.dataclass(frozen=True)
class Options:
    """What is compared, see the command's help.

    Attributes:
        reference: checkout.
        dataset, backbone, neighbors: the model.
        weights: file of the reference's weights; None for made-up ones.
        float64: number format.
        clip_length, batch, seed: the clips.
        device: ``auto``, ``cpu`` or ``gpu``.
        parity: whether stages, gradients and so on are compared.
        evaluation_only: leaves out what needs training.
        speed: whether both are timed.
        repeats: of the timing.
        train: steps that both are trained; 0 for none.
        data, subjects, frames, eval_every, learning_rate, curves: of the training.
        report: file to write; None for none.
    """

    reference: Path
    dataset: str
    backbone: str
    neighbors: int
    weights: Path | None
    float64: bool
    clip_length: int
    batch: int
    seed: int
    device: str
    parity: bool
    evaluation_only: bool
    speed: bool
    repeats: int
    train: int
    data: Path | None
    subjects: int
    frames: int
    eval_every: int
    learning_rate: float
    curves: Path
    report: Path | None

    @property
    def dtype(self) -> str:
        """Number format of the comparison."""
        return "float64" if self.float64 else "float32"

    @property
    def au_set(self) -> facs.AUSet:
        """The AUs."""
        return facs.get(self.dataset)


def check(options: Options) -> None:
    """Refuses what could not succeed, before anything is computed.

    Raises:
        ValueError, OSError: with what is wrong.
    """
    # PyTorch's pooling refuses to pool fewer differences than its window has.
    least = 2 * options.neighbors + 1
    if options.clip_length < least:
        raise ValueError(
            f"the reference takes clips of at least {least} frames where --neighbors is "
            f"{options.neighbors} (2 k + 1); found --clip-length {options.clip_length}"
        )
    if not (options.parity or options.speed or options.train):
        raise ValueError("nothing to do: --skip-parity leaves only --speed and --train, and neither is given")
    if options.report is not None:
        comparison_report.check_path(options.report)
    if options.train:
        if options.curves.suffix != ".csv" or not options.curves.parent.is_dir():
            raise ValueError(f"--curves names a .csv file in a folder that exists, found {options.curves}")
        if options.report == options.curves.with_suffix(".md"):
            raise ValueError(
                f"--report {options.report} is where the curves' own report goes; name another file"
            )
        if options.data is None and (options.subjects < 3 or options.frames < options.clip_length):
            raise ValueError(
                "a synthetic set for training needs at least 3 subjects (one a part) and videos of at least "
                f"a clip's length; found --subjects {options.subjects} --frames {options.frames}"
            )


def run(options: Options, command: list[str]) -> bool:
    """Compares, prints and writes.

    Args:
        options: what to do.
        command: the command line, for the report.

    Returns:
        Whether every comparison was within its limit.

    Raises:
        ValueError, OSError, ImportError, RuntimeError: with what is wrong and how to mend it.
    """
    check(options)
    checkout = open_checkout(options.reference, options.au_set)
    with _numerics(options), _devices(options.device) as (torch_device, device):
        session = Session(options, checkout, torch_device)
        facts = _facts(options, command, session.weights_origin, device)
        for name, value in facts:
            print(f"{name}: {value}")
        tables: list[Table] = []
        agrees = True

        def show(new: list[Table]) -> None:
            for table in new:
                print(f"\n{comparison_report.as_text(table)}", flush=True)
            tables.extend(new)

        if options.parity:
            sections = session.compare()
            agrees = comparison.first_departure(sections) is None
            show(comparison.tables(sections))
            verdict = comparison.verdict(sections)
            print(f"\n{verdict}", flush=True)
            facts.append(("verdict", verdict))
        if options.speed:
            show([speed.table(session.time(), device)])
        if options.train:
            curves = session.train()
            show(curves.tables())
            markdown = options.curves.with_suffix(".md")
            comparison_report.write(markdown, "Training side by side", facts, curves.tables())
            announce(f"written: {options.curves}, {markdown}")
        if options.report is not None:
            comparison_report.write(options.report, "mdhr_jax beside the PyTorch reference", facts, tables)
            announce(f"written: {options.report}")
    return agrees


class Session:
    """The models of one command; each lives only as long as it is used, since they are large."""

    def __init__(self, options: Options, checkout: Checkout, torch_device: str):
        self._options, self._checkout, self._device = options, checkout, torch_device
        self._config: MDHRConfig = reference_config(
            options.dataset, options.backbone, options.neighbors, options.dtype
        )
        self._inputs: Inputs = make_inputs(options.au_set, options.batch, options.clip_length, options.seed)
        if not options.float64:
            # The same numbers in both formats: what differs then is arithmetic alone.
            clips = self._inputs.clips.astype("float32")
            self._inputs = dataclasses.replace(self._inputs, clips=clips)
        self._read: Tensors | None = None
        self.weights_origin = "made up (PCG64 of the names), running statistics those of the clips"
        if options.weights is not None:
            self._read = self._checked(options.weights)
            self.weights_origin = str(options.weights)
        self._made: Tensors | None = None

    def _checked(self, path: Path) -> Tensors:
        tensors, info = files.read_tensors(path)
        conversion.neighbors_of(path, info, self._options.neighbors)
        model = FunctionalModel.create(self._config)
        arrays_from_torch(tensors, model.param_shapes | model.stat_shapes, self._config.au_set)
        return tensors if self._options.float64 else rounded(tensors)

    def _torch(self, dtype: str) -> TorchSide:
        options = self._options
        return TorchSide(self._checkout, options.backbone, options.neighbors, dtype, self._device)

    def _values(self) -> Tensors:
        """The weights that both sides get."""
        if self._read is not None:
            return self._read
        if self._made is None:
            side = self._torch("float64")
            values = parameter_values(side.shapes)
            side.load(values)
            statistics = rounded(side.estimate_statistics(self._inputs.clips))
            self._made = (values if self._options.float64 else rounded(values)) | statistics
        return self._made

    def compare(self) -> list[comparison.Section]:
        """Runs both sides, the reference in float64 and in the format compared, and compares."""
        options = self._options
        steps = 0 if options.evaluation_only else measurements.STEPS
        free, decided = torch_side.parts(None, steps), steps + 2
        total = 2 * free if options.float64 else free + 2 * decided
        with Progress(total + 1 + bool(steps), unit="parts", label="comparing") as progress:
            values = self._values()
            progress.update(note="weights")

            def measured(side: TorchSide | JaxSide, given: Decisions | None, name: str) -> Measurements:
                side.load(values)
                return side.measure(
                    self._inputs, given, steps, lambda part: progress.update(note=f"{name}: {part}")
                )

            exact = measured(self._torch("float64"), None, "PyTorch float64")
            own = given = None
            if not options.float64:
                given = self._given(exact)
                own = measured(self._torch("float32"), given, "PyTorch float32")
            our_side = JaxSide(self._config)
            ours = measured(our_side, given, f"ours, {options.dtype}")
            sections = comparison.compare(options.au_set, options.clip_length, exact, ours, own)
            if ours.stepped:
                sections.append(self._round_trip(our_side, ours.stepped, sections[0]))
                progress.update(note="our weights in the reference")
        return sections

    def _round_trip(
        self, our_side: JaxSide, weights: Tensors, evaluation: comparison.Section
    ) -> comparison.Section:
        """The reference with weights that we trained."""
        side = self._torch("float64")
        side.load(weights, strict=True)
        exact = side.evaluate(self._inputs)
        our_side.load(weights)
        ours = our_side.evaluate(self._inputs, measurements.decided(self._options.au_set, exact))
        return comparison.round_trip(exact, ours, evaluation)

    def _given(self, exact: Measurements) -> Decisions:
        """The float64 decisions, in training only where one of them is nearly tied."""
        au_set = self._options.au_set
        found = measurements.decisions_of(au_set, exact)
        if exact.training and measurements.any_tied(au_set, exact.training):
            return found
        free = Decisions.free(self._inputs.num_frames, au_set.num_aus)
        return dataclasses.replace(found, training=free.training)

    def time(self) -> list[speed.Timing]:
        """Times both sides in turn."""
        torch, ours = self._torch(self._options.dtype), JaxSide(self._config)
        torch.load(self._values())
        ours.load(self._values())
        return speed.measure(torch, ours, self._inputs, self._options.repeats)

    def train(self) -> side_by_side.Curves:
        """Trains both side by side, then the reference with the next seed.

        What is measured is written at every evaluation, so that an interruption loses little.
        """
        options, curves = self._options, side_by_side.Curves()
        with side_by_side.training_data(
            options.au_set,
            options.data,
            subjects=options.subjects,
            frames=options.frames,
            seed=options.seed,
            clip_length=options.clip_length,
            batch_size=options.batch,
            dtype=options.dtype,
        ) as data:

            def run(trainees: dict[str, Trainee], seed: int, label: str) -> None:
                every = options.eval_every or max(1, options.train // 4)
                side_by_side.run(
                    trainees,
                    data,
                    curves,
                    steps=options.train,
                    every=every,
                    seed=seed,
                    label=label,
                    measured=lambda: curves.write_csv(options.curves),
                )

            torch, ours = self._initial(options.seed), JaxSide(self._config)
            ours.load(torch.values())
            both = {
                "reference": self._torch_trainee(torch, data),
                "ours": self._our_trainee(ours, data),
            }
            run(both, options.seed, "training both")
            del torch, ours, both
            other = {"other_seed": self._torch_trainee(self._initial(options.seed + 1), data)}
            run(other, options.seed + 1, "training the reference with another seed")
        return curves

    def _initial(self, seed: int) -> TorchSide:
        """The reference with its own random weights of a seed, or with those that were read."""
        import_torch().manual_seed(seed)
        side = self._torch(self._options.dtype)
        if self._read is not None:
            side.load(self._read)
        return side

    def _torch_trainee(self, side: TorchSide, data: side_by_side.TrainingData) -> Trainee:
        rate, steps = self._options.learning_rate, self._options.train
        training = TorchTraining(side, data.au_weights, rate, steps)
        return Trainee(
            step=lambda clips, labels: float(training.step(side.clips(clips), labels)[0]),
            predict=lambda clips: side.predict(side.clips(clips)),
        )

    def _our_trainee(self, side: JaxSide, data: side_by_side.TrainingData) -> Trainee:
        rate, steps = self._options.learning_rate, self._options.train
        training = JaxTraining(side, data.au_weights, rate, steps)
        return Trainee(
            step=lambda clips, labels: float(training.step(side.clips(clips), labels).total),
            predict=lambda clips: side.predict(side.clips(clips)),
        )


@contextlib.contextmanager
def _numerics(options: Options) -> Iterator[None]:
    """Number format and full precision of matrix products on both sides."""
    torch = import_torch()
    flags = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [flag.allow_tf32 for flag in flags]
    for flag in flags:
        flag.allow_tf32 = False
    try:
        with jax.enable_x64(options.float64), jax.default_matmul_precision("highest"):
            yield
    finally:
        for flag, value in zip(flags, before, strict=True):
            flag.allow_tf32 = value


@contextlib.contextmanager
def _devices(asked: str) -> Iterator[tuple[str, str]]:
    """Puts both sides on devices of one kind; yields PyTorch's, and both in words.

    Raises:
        ValueError: there is none of the kind asked for on one of the sides.
    """
    torch = import_torch()
    ours = asked != "cpu" and jax.default_backend() == "gpu"
    theirs = asked != "cpu" and torch.cuda.is_available()
    if asked == "gpu" and not (ours and theirs):
        lacking = " and ".join(name for name, found in (("JAX", ours), ("PyTorch", theirs)) if not found)
        raise ValueError(
            f"--device gpu: {lacking} found no GPU here; install a build for GPUs or leave it out"
        )
    if ours and theirs:
        name = f"GPU: {jax.devices()[0].device_kind} (JAX), {torch.cuda.get_device_name()} (PyTorch), no TF32"
        yield "cuda", name
        return
    name = f"CPU: {hardware.processor_name()}, {torch.get_num_threads()} threads of PyTorch"
    with jax.default_device(jax.devices("cpu")[0]), cuda_stays_on_cpu():
        yield "cpu", name


def _facts(options: Options, command: list[str], weights: str, device: str) -> list[tuple[str, str]]:
    versions = [f"mdhr_jax {__version__}"]
    versions += [f"{name} {importlib.metadata.version(name)}" for name in _VERSIONED]
    versions += [f"torch {import_torch().__version__}", f"Python {platform.python_version()}"]
    facts = [
        ("command", shlex.join(command)),
        ("model", f"{options.au_set.title}, {options.backbone}, k = {options.neighbors}"),
        ("clips", f"{options.batch} of {options.clip_length} frames, seed {options.seed}"),
        ("weights", weights),
    ]
    if options.train:
        first = "the same" if options.weights else f"the reference's own, of seeds {options.seed} and "
        first += "" if options.weights else f"{options.seed + 1} (other seed)"
        facts.append(
            ("training", f"{options.train} steps from {options.learning_rate:g}, first weights: {first}")
        )
    return [
        *facts,
        ("arithmetic", options.dtype),
        ("device", device),
        ("versions", ", ".join(versions)),
    ]


def options_from(arguments: Any) -> Options:
    """Options from parsed arguments, whose names are those of the fields."""
    return Options(**{field.name: getattr(arguments, field.name) for field in dataclasses.fields(Options)})
