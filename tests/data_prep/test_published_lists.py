"""The published lists give the numbers that the reference's loader makes of them.

The lists derive from licensed data and are not part of the project; whoever has them says where:

    MDHR_BP4D_LISTS=DIR python -m pytest tests/data_prep/test_published_lists.py
"""

import json
import os
from pathlib import Path

import pytest

from data_prep import inspect

LISTS = os.environ.get("MDHR_BP4D_LISTS", "")

# Training videos, evaluation windows of 16 frames, those padded, frames that pad them: measured by running
# the reference's data set classes on the lists.
OF_FOLD = {
    "1": (224, 2930, 95, 846),
    "2": (216, 3193, 103, 906),
    "3": (216, 3221, 103, 905),
}


@pytest.mark.skipif(not LISTS, reason="MDHR_BP4D_LISTS does not say where the published lists are")
def test_bp4d(capsys):
    assert inspect.main([LISTS]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["dataset"] == "bp4d"
    assert report["region_label_mismatches"] == 0
    for fold, expected in OF_FOLD.items():
        found = report["folds"][fold]
        test = found["test"]
        counts = (
            found["train"]["videos"],
            test["windows"],
            test["padded_windows"],
            test["padded_frames"],
        )
        assert counts == expected
        assert found["train"]["frames"] + test["frames"] == 146_847
        printed = Path(LISTS, f"BP4D_train_weight_fold{fold}.txt").read_text().split()
        assert [f"{weight:.6f}" for weight in found["class_weights"].values()] == printed
