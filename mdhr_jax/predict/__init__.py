"""From a checkpoint and recordings to action units: `mdhr_jax.Predictor`, ``python -m mdhr_jax.predict``.

checkpoint.py     a trained model with everything that its scores mean
meaning.py        the same as JSON
scorers.py        many streams of aligned faces at once, in batches
streams.py        the same, each frame passing the backbone once
sharing.py        one of these for several recordings
rows.py           scores of the faces of a recording, frame after frame
table.py          rows as a data frame and as a CSV file
parquet.py        rows as a Parquet file
scoring.py        a recording on its way through the model
predictor.py      recordings in, tables out
together.py       several inputs of the command at a time
job.py            one of them, from its file to its files
bar.py            how far they are
sources/          what the command is to work on, and frames of it
output.py         the files of an input
views.py          which of them can be looked at
second_look.py    a recording once more, beside its rows
reading.py        rows that were written, and who is in them
trail.py          where faces were found, kept for the second look
overlay/          the video with boxes and bars
page/             the HTML page
"""
