"""Where frames come from.

inputs.py    what the command is to work on
source.py    the frames of one of them
camera.py    a camera
live.py      frames as they come, without falling behind
"""
