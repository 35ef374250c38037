"""Procedural videos of faces whose action units move by FACS: no download, no licence, exact labels.

`identity` says who a subject is, `portrait` paints the neutral face, `actions` says what each AU does to
it, `timeline` when, `distractors` what else moves, `render` draws frames, `eyes` what lids and lips
uncover, `landmarks` where the points of the face are, `generator` assembles videos from presets, `sheet`
makes pictures to look at.
"""
