"""The overlay: a video of the recording with boxes, bars of AUs and a timeline.

file.py       writes it, in a second look at the recording
painter.py    one picture a frame
layout.py     where what is drawn
canvas.py     boxes, bars and letters on pixels
film.py       pictures with their times as a video
"""
