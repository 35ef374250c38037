"""The graph of AUs with its attention weights on a face (the paper's Figure 4)."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from mdhr_jax.facs import AUSet
from mdhr_jax.figures import style
from mdhr_jax.figures.network import LookedAt, Network
from mdhr_jax.figures.places import places_in_crop
from mdhr_jax.figures.runs import NotApplicableError

_MARKERS = {"upper": "^", "middle": "D", "lower": "o"}
_MOST_NUMBERS = 10
_BEND = 0.18  # Of an edge's length to its side, so that two directions do not cover each other.
_THIN, _THICK = 0.7, 4.6  # Points: the weakest and the strongest edge of a face.


@dataclasses.dataclass(frozen=True)
class Relations:
    """The graph in one frame.

    Attributes:
        frame: row of what was looked at.
        attention: weight with which an AU (row) receives from another (column).
        across: whether the two AUs are of different regions.
        senders: AUs with an edge to another region.
        edges: (receiver, sender) of the edges between regions with a weight, the strongest first.
    """

    frame: int
    attention: Float[np.ndarray, "N N"]
    across: Bool[np.ndarray, "N N"]
    senders: Bool[np.ndarray, "N"]
    edges: tuple[tuple[int, int], ...]


def check(model: Mapping[str, Any]) -> None:
    """Whether a model has a graph.

    Args:
        model: its part of a configuration.

    Raises:
        NotApplicableError: it has none.
    """
    if not model["crm"]:
        raise NotApplicableError("the model has no cross-regional graph (CRM)")


def across_regions(regions: AUSet) -> Bool[np.ndarray, "N N"]:
    """Which pairs of AUs, in label order, are of different region groups."""
    group = np.empty(regions.num_aus, np.int64)
    for i, region in enumerate(regions.regions):
        group[list(regions.columns(region))] = i
    return group[:, None] != group[None]


def relations(shown: LookedAt, regions: AUSet) -> Relations:
    """The graph in the frame with most edges between regions.

    Of equals that with most AUs predicted is taken, then the first.

    Args:
        shown: a window that a network looked at.
        regions: AUs and region groups of the network.

    Raises:
        NotApplicableError: the network has no graph.
    """
    if shown.attention is None:
        raise NotApplicableError("the model has no cross-regional graph (CRM)")
    across = across_regions(regions)
    counts = ((shown.attention > 0) & across).sum((1, 2))
    order = np.lexsort((np.arange(len(counts)), -shown.predicted.sum(1), -counts))
    frame = int(order[0])
    attention = shown.attention[frame]
    weights = np.where(across, attention, 0.0)
    rows, columns = np.nonzero(weights)
    strongest = np.argsort(-weights[rows, columns], kind="stable")
    edges = tuple((int(rows[i]), int(columns[i])) for i in strongest)
    return Relations(frame, attention, across, np.asarray((weights > 0).any(0)), edges)


def draw(network: Network, shown: LookedAt, footer: str) -> Any:
    """The face with AUs and edges, and beside it all weights as a matrix.

    Args:
        network: that looked.
        shown: what it looked at.
        footer: small print.

    Raises:
        NotApplicableError: the model has no graph.
    """
    regions = network.model.config.regions
    found = relations(shown, regions)
    number = shown.frame_number[found.frame]
    made = style.figure(
        14.2, 7.6, f"Graph of action units, {shown.video} (subject {shown.subject}), frame {number}", footer
    )
    face, matrix = made.subplots(1, 2, gridspec_kw={"width_ratios": [1, 1]})
    _draw_face(face, shown, found, regions, network.records.crop_recipe)
    _draw_matrix(made, matrix, shown, found, regions)
    return made


def _draw_face(
    axes: Any, shown: LookedAt, found: Relations, regions: AUSet, crop_recipe: dict[str, Any]
) -> None:
    from matplotlib import patheffects
    from matplotlib.patches import FancyArrowPatch

    pale = np.asarray(shown.frames[found.frame], np.float64).mean(-1)
    axes.imshow(pale, cmap="gray", vmin=-60, vmax=330, extent=(0, 1, 1, 0))
    places = places_in_crop(regions.aus, crop_recipe)
    outline = [patheffects.withStroke(linewidth=2.2, foreground="black")]
    look = _EdgeLook.of([float(found.attention[edge]) for edge in found.edges])
    for receiver, sender in reversed(found.edges):
        weight = float(found.attention[receiver, sender])
        width = look.width(weight)
        axes.add_patch(
            FancyArrowPatch(
                tuple(places[sender]),
                tuple(places[receiver]),
                connectionstyle=f"arc3,rad={_BEND}",
                arrowstyle="-|>",
                mutation_scale=7 + 2 * width,
                shrinkA=12,
                shrinkB=12,
                linewidth=width,
                color=look.colour(weight),
                path_effects=[patheffects.withStroke(linewidth=width + 1.0, foreground="black")],
                zorder=2 + weight,
            )
        )
    bands = {au: region.band for region in regions.regions for au in region.aus}
    for i, au in enumerate(regions.aus):
        on = bool(shown.predicted[found.frame, i])
        label = int(shown.labels[found.frame, i])
        wrong = label >= 0 and bool(label) != on
        axes.plot(
            *places[i],
            _MARKERS[bands[au]],
            markersize=24 if bands[au] != "upper" else 27,
            markerfacecolor="white" if on else "0.25",
            markeredgecolor=style.COLOURS[3] if wrong else "black",
            markeredgewidth=2.6 if wrong else 1.2,
            zorder=5,
        )
        # The middle of a triangle's area is below that of its box.
        axes.annotate(
            f"{au}",
            tuple(places[i]),
            xytext=(0, -2.5 if bands[au] == "upper" else 0),
            textcoords="offset points",
            color="black" if on else "white",
            fontsize=8.5,
            fontweight="bold",
            ha="center",
            va="center",
            zorder=6,
        )
    for (x, y), text in _numbers(found, places):
        axes.text(
            x, y, text, fontsize=7, color="white", ha="center", va="center", zorder=7, path_effects=outline
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(1, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    hidden = int(((found.attention > 0) & ~found.across).sum() - len(found.attention))
    others = f"; {hidden} edges inside regions are in the matrix only" if hidden else ""
    numbered = min(_MOST_NUMBERS, len(found.edges))
    if found.edges:
        title = (
            f"{len(found.edges)} edges between regions, wider and lighter with weight (numbers: the "
            f"{numbered} largest){others}"
        )
    else:
        title = f"no edge between regions in this frame{others}"
    axes.set_title(title, fontsize=9)
    axes.legend(
        handles=[*_legend(), *look.legend()],
        loc="upper center",
        bbox_to_anchor=(0.5, -0.01),
        ncols=3,  # States, regions, edges.
        fontsize=7.5,
        frameon=False,
    )


@dataclasses.dataclass(frozen=True)
class _EdgeLook:
    """How wide and how light an edge is: told twice, so that neither colour nor width is needed alone.

    Attributes:
        lowest, highest: weights of the face's edges, between which both vary.
    """

    lowest: float
    highest: float

    @classmethod
    def of(cls, weights: list[float]) -> "_EdgeLook":
        return cls(min(weights, default=0.0), max(weights, default=1.0))

    def _share(self, weight: float) -> float:
        spread = self.highest - self.lowest
        return (weight - self.lowest) / spread if spread > 0 else 1.0

    def width(self, weight: float) -> float:
        """In points."""
        return _THIN + (_THICK - _THIN) * self._share(weight)

    def colour(self, weight: float) -> Any:
        """Dark where weak."""
        from matplotlib import colormaps

        return colormaps[style.SEQUENTIAL](self._share(weight))

    def legend(self) -> list[Any]:
        """Edges of the lowest, the middle and the highest weight."""
        from matplotlib.lines import Line2D

        weights = [self.lowest, (self.lowest + self.highest) / 2, self.highest]
        return [
            Line2D([], [], color=self.colour(w), linewidth=self.width(w), label=f"edge to receiver, {w:.2f}")
            for w in dict.fromkeys(weights if self.highest > self.lowest else [self.highest])
        ]


def _numbers(found: Relations, places: Float[np.ndarray, "N 2"]) -> list[tuple[tuple[float, float], str]]:
    """Places on the arcs where the weights of the strongest edges stand, clear of AUs and of each other."""
    taken = [tuple(place) for place in places]
    out = []
    for receiver, sender in found.edges[:_MOST_NUMBERS]:
        start, end = places[sender], places[receiver]
        across = end - start
        # Matplotlib's arc3: a quadratic curve, in display coordinates with y up.
        middle = (start + end) / 2 + _BEND * np.asarray([-across[1], across[0]])

        def on_arc(t: float, start: Any = start, middle: Any = middle, end: Any = end) -> Any:
            return (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * end

        candidates = [on_arc(t) for t in (0.5, 0.42, 0.58, 0.35, 0.65, 0.28, 0.72)]

        def room(point: Any) -> float:
            # Numbers are wider than high.
            return min(max(abs(point[0] - x) / 0.055, abs(point[1] - y) / 0.035) for x, y in taken)

        best = next((p for p in candidates if room(p) >= 1), max(candidates, key=room))
        taken.append(tuple(best))
        out.append(((float(best[0]), float(best[1])), f"{found.attention[receiver, sender]:.2f}"))
    return out


def _draw_matrix(made: Any, axes: Any, shown: LookedAt, found: Relations, regions: AUSet) -> None:
    """Receivers down, senders across, in the order of the regions."""
    order = [column for region in regions.regions for column in regions.columns(region)]
    attention = found.attention[np.ix_(order, order)]
    high = float(np.ceil(10 * attention.max()) / 10)
    image = axes.imshow(attention, cmap=style.SEQUENTIAL, vmin=0, vmax=high)
    for (row, column), weight in np.ndenumerate(attention):
        if weight > 0:
            ink = style.ink_on(float(weight), 0, high)
            # What does not round to a number is there all the same.
            text = f"{weight:.2f}" if weight >= 0.005 else "<.01"
            axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=ink)
    style.hatch_undefined(axes, np.argwhere(attention == 0))
    edge = -0.5
    for region in regions.regions[:-1]:
        edge += len(region.aus)
        axes.axhline(edge, color="black", linewidth=1.4)
        axes.axvline(edge, color="black", linewidth=1.4)
    names = [f"AU{regions.aus[i]}" for i in order]
    marked = [f"{name} *" if found.senders[i] else name for name, i in zip(names, order, strict=True)]
    axes.set_xticks(range(len(order)), marked, rotation=90)
    scores = shown.scores[found.frame]
    axes.set_yticks(range(len(order)), [f"{n} ({scores[i]:.2f})" for n, i in zip(names, order, strict=True)])
    axes.tick_params(length=0, labelsize=8)
    axes.set_xlabel("sender (*: sends to other regions)")
    axes.set_ylabel("receiver (its score)")
    axes.set_title("attention weights; rows sum to 1; hatched: no edge", fontsize=9)
    made.colorbar(image, ax=axes, shrink=0.8, aspect=35, label="attention weight")


def _legend() -> list[Any]:
    from matplotlib.lines import Line2D

    def marker(shape: str, **options: Any) -> Any:
        return Line2D([], [], marker=shape, linestyle="", markersize=9, markeredgecolor="black", **options)

    return [
        marker("o", markerfacecolor="white", label="predicted present"),
        marker("o", markerfacecolor="0.25", label="predicted absent"),
        Line2D(
            [],
            [],
            marker="o",
            linestyle="",
            markersize=9,
            markerfacecolor="white",
            markeredgecolor=style.COLOURS[3],
            markeredgewidth=2.6,
            label="thick rim: label differs",
        ),
        marker("^", markerfacecolor="0.7", label="upper region"),
        marker("D", markerfacecolor="0.7", label="middle region"),
        marker("o", markerfacecolor="0.7", label="lower regions"),
    ]
