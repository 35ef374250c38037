"""The data card of a synthetic set: what it is, how to make it again, and what it cannot show."""

from mdhr_jax.data.synthetic import generator
from mdhr_jax.data.synthetic.landmarks import LANDMARK_NAMES

_PRESETS = {
    "easy": (
        "independent events of AUs that are all frequent; clear faces. For trying code, not for comparing it."
    ),
    "realistic": (
        "labels with the rates, co-occurrence, run lengths and spread between subjects of the published "
        "lists (aggregates; no list was copied); neutral faces that look like weak AUs, glasses, beards, "
        "speech, blinks, moving heads, crops and light, noise, compression."
    ),
    "changing": "the faces and co-occurrence of `realistic`, with AUs that come and go five times as fast.",
}

_TEXT = """# {title}, preset `{preset}`

Videos of drawn faces whose action units (AUs) move by FACS. Nobody is shown: no photograph, recording or
model of a real face went into them, so they may be passed on freely (Apache 2.0, as the generator).

* Made by mdhr_jax's generator, version {version}: `python -m mdhr_jax.data.synthetic --out DIR --like
  {like} --preset {preset} --seed {seed} --subjects {subjects} --videos {videos} --frames {frames}`. The
  same command gives the same bytes.
* {count} videos of {frames} frames ({size} x {size} pixels, {fps:g} frames a second) of {subjects}
  subjects, cut like the aligned faces of the recordings. Subjects go to part1, part2 and part3 in turn: no
  subject is in two parts.
* Preset: {about}

## What a record holds besides frames and labels

* `intensities` (frames, {num_aus}): strength of each AU, 0 to 1, in the order {aus}. An AU is labelled
  present where its intensity exceeds a threshold: {thresholds}. Weaker activity shows in the face and is
  labelled absent.
* `landmarks` (frames, {num_landmarks}, 2): x and y in pixels of {landmarks}; left and right are the
  viewer's.
* `head_pose` (frames, 3): yaw (positive: towards the viewer's right), pitch (positive: downwards), roll
  (positive: clockwise as seen), in degrees.

`mdhr_jax.data.records.ClipRecords.read_truth` reads them.

## What it is for

Testing a whole system, comparing code, modules, seeds and machines on data that everybody can have, and
sharing checkpoints and results on it.

## What it cannot show

* Accuracy on real faces. Nothing measured here carries over to BP4D, DISFA or a camera.
* Real appearance: faces are drawn in two and a half dimensions, heads turn a little only, and there are no
  hands, occlusions, real wrinkles or make-up.
* Human coding: labels are exact and made by a threshold, without coders' delays and disagreement.
* All of FACS: AUs act alone or with the interactions listed in `interactions.py`; side differences are
  small.
* Fairness: skin colours, ages and face shapes are spread for variety, not by any population.
* Sampling error of labels in `realistic`: draws are balanced and chosen so that about 100,000 frames are
  close to the published aggregates, which makes seeds more alike than recordings of new people would be.
  Changes of two AUs at once are about half (AU1 with AU2) to two thirds (AU17 with AU23) as frequent as
  published for BP4D.
"""


def data_card(spec: generator.SyntheticSpec) -> str:
    """The card of a set as Markdown; the same text for the same specification and version."""
    au_set, thresholds = spec.au_set, generator.thresholds(spec)
    return _TEXT.format(
        title=au_set.title,
        preset=spec.preset,
        version=generator.GENERATOR_VERSION,
        like=spec.like,
        seed=spec.seed,
        subjects=spec.subjects,
        videos=spec.videos_per_subject,
        frames=spec.frames_per_video,
        count=len(spec.videos()),
        size=spec.size,
        fps=au_set.fps,
        about=_PRESETS[spec.preset],
        num_aus=au_set.num_aus,
        aus=", ".join(au_set.au_names),
        thresholds=", ".join(f"{x:.2f}" for x in thresholds.tolist()),
        num_landmarks=len(LANDMARK_NAMES),
        landmarks=", ".join(LANDMARK_NAMES),
    )
