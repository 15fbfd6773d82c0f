"""How good a network is, in figures: on folders of pictures and on films.

conditions.py    Conditions: under which networks are compared
methods.py       what enlarges: a network, or a filter as the floor
sources.py       pictures and films as 8-bit RGB
inputs.py        the low-resolution twin of a picture: shrunk, noisy, compressed
scores.py        figures of one picture, one method, one set of data
pictures.py      evaluate_pictures
films.py         evaluate_film: frames in order, and how the film flickers
outputs.py       keeping the pictures that came out
tables.py        the figures as text
"""

from __future__ import annotations

from vsr.evaluation.conditions import Conditions
from vsr.evaluation.films import evaluate_film
from vsr.evaluation.methods import Method, open_methods
from vsr.evaluation.outputs import OutputFolder
from vsr.evaluation.pictures import evaluate_pictures
from vsr.evaluation.scores import DataResult, MethodResult, PictureScores, Skipped, compare

__all__ = [
    "Conditions",
    "DataResult",
    "Method",
    "MethodResult",
    "OutputFolder",
    "PictureScores",
    "Skipped",
    "compare",
    "evaluate_film",
    "evaluate_pictures",
    "open_methods",
]
