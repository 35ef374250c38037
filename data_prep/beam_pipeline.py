"""Makes the archives of many videos as an Apache Beam pipeline, for more than one machine.

    pip install mdhr_jax[beam]
    python -m data_prep.bp4d --raw RAW --out OUT \
        --beam "--runner=DirectRunner --direct_running_mode=multi_processing --direct_num_workers=4"

RAW and the folder of the archives must be the same for all workers (a shared file system).
"""

import functools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_prep import archives
from data_prep.archives import Job, Outcome
from data_prep.pool import GetDetector, Judge, as_it_is
from data_prep.raw import RawVideo, VideoProblem
from mdhr_jax.data import temporaries
from mdhr_jax.progress import announce


def make_all(
    job: Job,
    videos: Sequence[RawVideo],
    get_detector: GetDetector,
    flags: Sequence[str],
    *,
    strict: bool = False,
    judge: Judge = as_it_is,
) -> list[Outcome]:
    """Makes the archives that are not there yet.

    Args:
        job: what the videos have in common.
        videos: to be made.
        get_detector: called in the process that works on a video.
        flags: of the pipeline: runner, number of workers.
        strict: a video that cannot be used fails the pipeline.
        judge: called for every video in the process that works on it.

    Returns:
        What became of each video, in their order.

    Raises:
        ImportError: Beam is missing.
        RuntimeError: the pipeline failed.
    """
    try:
        import apache_beam as beam  # pyright: ignore[reportMissingImports]
        from apache_beam.options.pipeline_options import PipelineOptions  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(f"--beam needs Apache Beam ({error}): pip install mdhr_jax[beam]") from error
    announce(f"aligning {len(videos)} videos of {job.au_set.title} with Apache Beam")
    make = functools.partial(_make, job, get_detector, strict, judge)
    # Beside the archives, which all workers can reach.
    results = temporaries.beside(job.out / "beam")
    results.mkdir()
    try:
        try:
            with beam.Pipeline(options=PipelineOptions(list(flags))) as pipeline:
                _ = (
                    pipeline
                    | beam.Create(list(videos))
                    # Without it a runner may keep all videos on one worker.
                    | beam.Reshuffle()
                    | beam.Map(make)
                    | beam.io.WriteToText(f"{results}/outcomes")
                )
        except Exception as error:
            raise RuntimeError(f"the pipeline failed: {error}. Finished videos are kept") from error
        lines = [line for path in sorted(results.iterdir()) for line in path.read_text().splitlines()]
    finally:
        shutil.rmtree(results, ignore_errors=True)
    outcomes = {outcome.video: outcome for outcome in map(_parse, lines)}
    return [outcomes[video.name] for video in videos]


def _make(job: Job, get_detector: GetDetector, strict: bool, judge: Judge, video: RawVideo) -> str:
    outcome = judge(job, video, archives.make(job, video, functools.partial(get_detector, video)))
    if strict and outcome.problem is not None:
        raise ValueError(f"stopped (--strict): {outcome.problem}")
    problem = outcome.problem
    found: dict[str, Any] = {
        "video": outcome.video,
        "frames": outcome.frames,
        "kept": outcome.kept,
        "dropped": outcome.dropped,
        "notes": outcome.notes,
        "problem": problem and [problem.video, str(problem.file), problem.text, problem.line, problem.frame],
    }
    return json.dumps(found)


def _parse(line: str) -> Outcome:
    found = json.loads(line)
    problem = found["problem"]
    return Outcome(
        found["video"],
        found["frames"],
        found["kept"],
        found["dropped"],
        tuple(found["notes"]),
        problem and VideoProblem(problem[0], Path(problem[1]), *problem[2:]),
    )
