"""The action-unit table: what each data set labels, where it lies on the face, who is in which fold.

Everything that depends on the set of AUs derives from an `AUSet` here: the number of outputs of the
model, the region heads and their label coding, the adjacency of the cross-regional graph, the names in
reports, the splits of the data. A new data set is one more entry in `AU_SETS` (or a call of `register`).

An AU is named by its FACS number. A region *group* is a set of AUs that share one region classifier;
two groups may look at the same rows of the face (BP4D's ``down1`` and ``down2``).
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Int, Shaped

Variant = Literal["reference", "paper"]

UNKNOWN = -1
"""Label of an AU that was not coded, and of a frame that only pads a clip. Never counted."""

PARTS = ("part1", "part2", "part3")
FOLDS = (1, 2, 3)
_TEST_PART = {1: "part3", 2: "part2", 3: "part1"}

# Paper, Eq. 7: start and end of each band of the face in sevenths of its height.
_BAND_SEVENTHS: dict[str, tuple[int, int]] = {"upper": (0, 3), "middle": (2, 5), "lower": (4, 7)}


@dataclasses.dataclass(frozen=True)
class RegionGroup:
    """AUs that are predicted together from one band of the face.

    Attributes:
        name: short name, as in the reference (``up``, ``mid``, ``down`` ...).
        band: which rows of the face the group reads: ``upper``, ``middle`` or ``lower``.
        aus: FACS numbers; the first is the most significant bit of the region label.
    """

    name: str
    band: str
    aus: tuple[int, ...]

    @property
    def num_combinations(self) -> int:
        """Number of classes of the region classifier, 2 to the number of AUs."""
        return 2 ** len(self.aus)


@dataclasses.dataclass(frozen=True)
class AUSet:
    """One data set's action units, facial regions and cross-validation parts.

    Attributes:
        name: lower-case identifier, also the name of the TFDS builder or builder config.
        title: the name as printed.
        aus: FACS numbers in label order.
        regions: region groups; together they hold every AU exactly once.
        region_blocks: whether the reference passes each region group through a linear block of
            its own before classifier and extractors (BP4D) or not (DISFA).
        fps: frames per second of the recordings.
        parts: subjects of part1, part2 and part3; empty where the data decide (synthetic sets).
    """

    name: str
    title: str
    aus: tuple[int, ...]
    regions: tuple[RegionGroup, ...]
    region_blocks: bool
    fps: float
    parts: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        if self.name != self.name.lower():
            raise ValueError(f"AU set name {self.name!r} must be lower case")
        if len(set(self.aus)) != len(self.aus) or not self.aus:
            raise ValueError(f"{self.name}: AUs must be distinct and at least one, found {self.aus}")
        in_regions = [au for region in self.regions for au in region.aus]
        if sorted(in_regions) != sorted(self.aus):
            raise ValueError(
                f"{self.name}: the region groups must hold every AU exactly once; "
                f"AUs {sorted(self.aus)}, in regions {sorted(in_regions)}"
            )
        for region in self.regions:
            if region.band not in _BAND_SEVENTHS:
                raise ValueError(
                    f"{self.name}: region {region.name!r} has band {region.band!r}, "
                    f"expected one of {sorted(_BAND_SEVENTHS)}"
                )
        if self.parts and len(self.parts) != len(PARTS):
            raise ValueError(f"{self.name}: expected {len(PARTS)} parts, found {len(self.parts)}")
        subjects = [s for part in self.parts for s in part]
        if len(set(subjects)) != len(subjects):
            raise ValueError(f"{self.name}: a subject is in more than one part")

    @property
    def num_aus(self) -> int:
        """Number of AUs, N."""
        return len(self.aus)

    @property
    def au_names(self) -> tuple[str, ...]:
        """Names in label order, such as ``("AU1", "AU2", ...)``."""
        return tuple(f"AU{au}" for au in self.aus)

    def columns(self, region: RegionGroup) -> tuple[int, ...]:
        """Positions of a region group's AUs in label order."""
        return tuple(self.aus.index(au) for au in region.aus)

    def part_of(self, subject: str) -> str:
        """Name of the part that a subject belongs to.

        Raises:
            ValueError: the subject is in none of the parts.
        """
        for name, members in zip(PARTS, self.parts, strict=bool(self.parts)):
            if subject in members:
                return name
        known = sorted(s for part in self.parts for s in part)
        raise ValueError(
            f"{self.title} has no subject {subject!r}; the folds know {', '.join(known) or 'none'}"
        )

    def with_merged_bands(self) -> "AUSet":
        """The same AUs with the groups that share a band merged into one.

        The paper has one lower region where the reference splits BP4D's into two (AUs in
        ascending order inside the merged group).
        """
        bands: dict[str, list[RegionGroup]] = {}
        for region in self.regions:
            bands.setdefault(region.band, []).append(region)
        merged = tuple(
            groups[0]
            if len(groups) == 1
            else RegionGroup(
                name=groups[0].name.rstrip("0123456789"),
                band=groups[0].band,
                aus=tuple(sorted(au for group in groups for au in group.aus)),
            )
            for groups in bands.values()
        )
        return dataclasses.replace(self, regions=merged)

    def for_variant(self, variant: Variant) -> "AUSet":
        """The table as the reference code has it, or with the paper's three regions."""
        return self.with_merged_bands() if variant == "paper" else self


def band_rows(band: str, height: int) -> slice:
    """Rows of a feature map that belong to a band of the face (Eq. 7).

    The borders are the paper's sevenths, rounded outwards, so that neighbouring bands overlap at
    every height; at height 7 they are rows 0-2, 2-4 and 4-6.
    """
    start, end = _BAND_SEVENTHS[band]
    return slice(start * height // 7, -(-end * height // 7))


def encode_regions(au_set: AUSet, labels: Int[np.ndarray, "*batch N"]) -> Int[np.ndarray, "*batch R"]:
    """Region labels from AU labels.

    Args:
        labels: 0 or 1 per AU in label order; anything else is unknown.

    Returns:
        int32, one column a region group: the integer whose bits are the group's AU labels, the
        first AU the most significant bit; `UNKNOWN` where any AU of the group is unknown.
    """
    labels = np.asarray(labels)
    columns = []
    for region in au_set.regions:
        bits = labels[..., list(au_set.columns(region))]
        weights = 1 << np.arange(len(region.aus) - 1, -1, -1)
        known = np.all((bits == 0) | (bits == 1), axis=-1)
        columns.append(np.where(known, (bits * weights).sum(-1), UNKNOWN))
    return np.stack(columns, axis=-1).astype(np.int32)


def decode_regions(au_set: AUSet, codes: Shaped[np.ndarray, "*batch R"]) -> Int[np.ndarray, "*batch N"]:
    """AU bits in label order from region labels; the inverse of `encode_regions`."""
    codes = np.asarray(codes)
    out = np.zeros((*codes.shape[:-1], au_set.num_aus), np.int32)
    for i, region in enumerate(au_set.regions):
        for bit, column in enumerate(reversed(au_set.columns(region))):
            out[..., column] = codes[..., i] >> bit & 1
    return out


def train_parts(fold: int) -> tuple[str, ...]:
    """Parts that a fold trains on. Fold 1: part1+part2, fold 2: part1+part3, fold 3: part2+part3."""
    held_out = part_tested(fold)
    return tuple(part for part in PARTS if part != held_out)


def part_tested(fold: int) -> str:
    """Part that a fold tests on: part3, part2, part1 for folds 1, 2, 3.

    Raises:
        ValueError: there is no such fold.
    """
    if fold not in _TEST_PART:
        raise ValueError(f"fold {fold!r} does not exist; choose one of {', '.join(map(str, FOLDS))}")
    return _TEST_PART[fold]


BP4D = AUSet(
    name="bp4d",
    title="BP4D",
    aus=(1, 2, 4, 6, 7, 10, 12, 14, 15, 17, 23, 24),
    regions=(
        RegionGroup("up", "upper", (1, 2, 4, 7)),
        RegionGroup("mid", "middle", (6,)),
        RegionGroup("down1", "lower", (12, 14, 15)),
        RegionGroup("down2", "lower", (10, 17, 23, 24)),
    ),
    region_blocks=True,
    fps=25.0,
    parts=(
        (
            "F001",
            "M007",
            "F018",
            "F008",
            "F002",
            "M004",
            "F010",
            "F009",
            "M012",
            "M001",
            "F016",
            "M014",
            "F023",
            "M008",
        ),
        (
            "M011",
            "F003",
            "M010",
            "M002",
            "F005",
            "F022",
            "M018",
            "M017",
            "F013",
            "M016",
            "F020",
            "F011",
            "M013",
            "M005",
        ),
        (
            "F007",
            "F015",
            "F006",
            "F019",
            "M006",
            "M009",
            "F012",
            "M003",
            "F004",
            "F021",
            "F017",
            "M015",
            "F014",
        ),
    ),
)

DISFA = AUSet(
    name="disfa",
    title="DISFA",
    aus=(1, 2, 4, 6, 9, 12, 25, 26),
    regions=(
        RegionGroup("up", "upper", (1, 2, 4)),
        RegionGroup("mid", "middle", (6, 9)),
        RegionGroup("down", "lower", (12, 25, 26)),
    ),
    region_blocks=False,
    fps=20.0,
    parts=(
        ("SN002", "SN010", "SN001", "SN026", "SN027", "SN032", "SN030", "SN009", "SN016"),
        ("SN013", "SN018", "SN011", "SN028", "SN012", "SN006", "SN031", "SN021", "SN024"),
        ("SN003", "SN029", "SN023", "SN025", "SN008", "SN005", "SN007", "SN017", "SN004"),
    ),
)

SYNTHETIC_BP4D = dataclasses.replace(BP4D, name="synthetic_bp4d", title="synthetic (BP4D-like)", parts=())
SYNTHETIC_DISFA = dataclasses.replace(DISFA, name="synthetic_disfa", title="synthetic (DISFA-like)", parts=())

AU_SETS: dict[str, AUSet] = {}


def register(au_set: AUSet) -> AUSet:
    """Adds an entry to the table.

    Raises:
        ValueError: another entry has that name.
    """
    if AU_SETS.get(au_set.name, au_set) != au_set:
        raise ValueError(f"an AU set named {au_set.name!r} exists already")
    AU_SETS[au_set.name] = au_set
    return au_set


for _entry in (BP4D, DISFA, SYNTHETIC_BP4D, SYNTHETIC_DISFA):
    register(_entry)


def get(name: str) -> AUSet:
    """The table's entry of that name; case does not matter.

    Raises:
        ValueError: there is none.
    """
    try:
        return AU_SETS[name.lower()]
    except KeyError:
        raise ValueError(
            f"data set {name!r} is not in the AU table; known: {', '.join(sorted(AU_SETS))}"
        ) from None


def names(au_numbers: Sequence[int]) -> tuple[str, ...]:
    """FACS numbers as names: ``(1, 12)`` gives ``("AU1", "AU12")``."""
    return tuple(f"AU{au}" for au in au_numbers)
