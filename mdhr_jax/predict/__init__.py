"""From a checkpoint and recordings to action units: `mdhr_jax.Predictor`, ``python -m mdhr_jax.predict``.

checkpoint.py    a trained model with everything that its scores mean
meaning.py       the same as JSON
scorers.py       many streams of aligned faces at once, in batches
rows.py          scores of the faces of a recording, frame after frame
table.py         rows as a data frame and as a CSV file
predictor.py     recordings in, tables out
inputs.py        what the command is to work on
output.py        the files of an input
"""
