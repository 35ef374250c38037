"""Figures of runs: learning curves, timelines, co-occurrence, subjects, and what the model looked at."""

from collections.abc import Mapping

FIGURES: Mapping[str, str] = {
    "curves": "losses, F1 and learning rate over the steps",
    "timeline": "AUs of a video: probability, threshold, prediction against label",
    "cooccurrence": "P(AU | other AU) of predictions against labels",
    "subjects": "F1 of each subject",
    "weights": "adaptive weights of the scales over a clip (the paper's Figure 3)",
    "graph": "graph of AUs with attention weights on a face (the paper's Figure 4)",
}
"""Names of the figures, and what they show."""
