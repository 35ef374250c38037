"""The page of a recording: one HTML file to be looked at offline.

file.py       writes it from page.html, page.css and page.js
data.py       what its script shows
moments.py    frames that are worth a look, with the model's weight maps and attention
"""
