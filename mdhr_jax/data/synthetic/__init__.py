"""Procedural videos of faces whose action units move by FACS: no download, no licence, exact labels.

`identity` says who a subject is, `portrait` paints the neutral face, `actions` says what each AU does to
it, `timeline` when, `distractors` what else moves, `render` draws frames, `eyes` what lids and lips
uncover, `landmarks` where the points of the face are, `generator` assembles videos from presets, `sheet`
makes pictures to look at.

The labels of the presets `realistic` and `changing` have the statistics of published ones: `published` holds
those, `latent` and `cast` draw activity that has them, `selection` makes a small cast typical, `episodes`
turns activity into intensities, `fit_labels` fits the constants in `label_model`, `statistics` measures.
"""
