"""The face step: from the frames of a recording to upright faces of one size.

    detector.py      what a detector is; a face: box, five points, confidence
    mtcnn.py         MTCNN
    precomputed.py   faces that another program found, from a CSV file
    finder.py        faces of one frame after the other, searched for or followed
    tracking.py      which face of a frame is which of the frame before; who is the subject
    smoothing.py     points smoothed over time
    alignment.py     from five points to the crop
    recipe.py        all choices, as they are stored with data and checkpoints
    aligner.py       frames in, aligned frames out, in bounded memory
    people.py        the same for everybody in the picture, for predictions
    media.py         frames of a command's videos and pictures
    video_file.py    frames and length of a video file
    cut_off.py       whether its end is missing
    options.py       the choices as options of commands

Nothing here knows data sets or labels. ``python -m mdhr_jax.faces`` aligns videos and pictures and measures.
"""
