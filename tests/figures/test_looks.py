"""What a reader sees: nothing covers anything else, and what differs looks different."""

import itertools

import numpy as np
import pytest

from mdhr_jax.figures import cooccurrence, relations, subjects
from tests.figures.conftest import made_up


def place(drawn, artist):
    return artist.get_window_extent(drawn.canvas.get_renderer())


def test_titles_and_small_print_of_co_occurrence_have_room():
    drawn = cooccurrence.draw(cooccurrence.cooccurrence(made_up()), "small print")
    drawn.canvas.draw()
    titles = [place(drawn, axes.title) for axes in drawn.axes[:3]]
    assert all(title.y1 < place(drawn, drawn._suptitle).y0 for title in titles)
    bars = [place(drawn, axes.xaxis.label) for axes in drawn.axes[3:]]
    assert len(bars) == 3
    assert all(place(drawn, drawn._supxlabel).y1 < bar.y0 for bar in bars)


def test_values_of_subjects_are_clear_of_bars_and_lines():
    drawn = subjects.draw(subjects.subject_f1(made_up()), "small print")
    drawn.canvas.draw()
    strip = drawn.axes[1]
    right_of_all = strip.transData.transform((100, 0))[0]
    assert [text.get_text() for text in strip.texts] == ["53.6", "57.2"]
    assert all(place(drawn, text).x0 > right_of_all for text in strip.texts)
    assert all(place(drawn, text).x1 <= strip.bbox.x1 for text in strip.texts)
    assert len(strip.lines) == 2


def test_edges_are_wider_and_lighter_with_weight():
    look = relations._EdgeLook.of([0.28, 0.14, 0.21])
    widths = [look.width(weight) for weight in (0.14, 0.21, 0.28)]
    assert widths[2] > 4 * widths[0]
    assert np.diff(widths) == pytest.approx(2 * [(widths[2] - widths[0]) / 2])
    # In grey too, as a printer or somebody who sees no colours has it.
    grey = [np.dot(look.colour(weight)[:3], (0.299, 0.587, 0.114)) for weight in (0.14, 0.21, 0.28)]
    assert all(later - earlier > 0.15 for earlier, later in itertools.pairwise(grey))
    handles = look.legend()
    assert [line.get_label().split(", ")[1] for line in handles] == ["0.14", "0.21", "0.28"]
    assert [line.get_linewidth() for line in handles] == pytest.approx(widths)


def test_edges_of_one_weight_and_none():
    (handle,) = relations._EdgeLook.of([0.5, 0.5]).legend()
    assert handle.get_label() == "edge to receiver, 0.50"
    assert relations._EdgeLook.of([]).legend()
