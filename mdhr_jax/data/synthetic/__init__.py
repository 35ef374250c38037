"""Procedural videos of faces whose action units move by FACS: no download, no licence, exact labels.

`identity` says who a subject is, `features` what makes the face ambiguous or hides it, `portrait` and
`detail` paint the neutral face. `apexes` and `measured` say what each AU does to it, `actions` as fields,
`interactions` how AUs meet, `shading` how they change the light, `timeline` when, `distractors` what else
moves. `render` draws frames (`warp` its inner loop, `eyes` what lids and lips uncover, `landmarks` where the
points of the face are), `generator` assembles videos from presets, `sheet` makes pictures to look at.
`effects`, `ambiguity` and `detection` measure what came out.

The labels of the presets `realistic` and `changing` have the statistics of published ones: `published` holds
those, `latent` and `cast` draw activity that has them, `selection` makes a small cast typical, `episodes`
turns activity into intensities, `fit_labels` fits the constants in `label_model`, `statistics` measures.
"""
