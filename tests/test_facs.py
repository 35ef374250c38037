import itertools

import numpy as np
import pytest

from mdhr_jax import facs


def test_region_labels_read_the_first_au_as_the_most_significant_bit():
    labels = np.zeros(12, np.int8)
    labels[[facs.BP4D.aus.index(au) for au in (1, 7, 12, 10, 24)]] = 1
    # up 1 2 4 7 = 1001, mid 6 = 0, down1 12 14 15 = 100, down2 10 17 23 24 = 1001.
    assert facs.encode_regions(facs.BP4D, labels).tolist() == [0b1001, 0, 0b100, 0b1001]


@pytest.mark.parametrize("au_set", [facs.BP4D, facs.DISFA, facs.BP4D.with_merged_bands()])
def test_decoding_inverts_encoding(au_set):
    labels = np.array(list(itertools.product((0, 1), repeat=au_set.num_aus)), np.int8)
    codes = facs.encode_regions(au_set, labels)
    assert (facs.decode_regions(au_set, codes) == labels).all()
    for column, region in zip(codes.T, au_set.regions, strict=True):
        assert set(column) == set(range(region.num_combinations))


def test_an_unknown_au_makes_only_its_own_region_unknown():
    labels = np.zeros(12, np.int8)
    labels[facs.BP4D.aus.index(14)] = facs.UNKNOWN
    labels[facs.BP4D.aus.index(6)] = 9
    assert facs.encode_regions(facs.BP4D, labels).tolist() == [0, -1, -1, 0]


def test_bands_are_the_papers_sevenths_and_overlap_at_every_height():
    rows = {
        height: [facs.band_rows(b, height) for b in ("upper", "middle", "lower")] for height in range(2, 30)
    }
    assert [(r.start, r.stop) for r in rows[7]] == [(0, 3), (2, 5), (4, 7)]
    for height, (upper, middle, lower) in rows.items():
        assert upper.start == 0
        assert lower.stop == height
        assert middle.start < upper.stop
        assert lower.start < middle.stop


def test_folds_train_on_two_parts_and_test_on_the_third():
    assert [(facs.train_parts(f), facs.part_tested(f)) for f in facs.FOLDS] == [
        (("part1", "part2"), "part3"),
        (("part1", "part3"), "part2"),
        (("part2", "part3"), "part1"),
    ]
    with pytest.raises(ValueError, match="fold 4 does not exist"):
        facs.part_tested(4)


BP4D_SUBJECTS = {f"F{n:03}" for n in range(1, 24)} | {f"M{n:03}" for n in range(1, 19)}
DISFA_SUBJECTS = {f"SN{n:03}" for n in range(1, 33)} - {"SN014", "SN015", "SN019", "SN020", "SN022"}


@pytest.mark.parametrize(
    ("au_set", "sizes", "subjects"),
    [(facs.BP4D, (14, 14, 13), BP4D_SUBJECTS), (facs.DISFA, (9, 9, 9), DISFA_SUBJECTS)],
)
def test_every_subject_is_in_one_part(au_set, sizes, subjects):
    assert tuple(map(len, au_set.parts)) == sizes
    assert sum(sizes) == len(subjects)
    assert set().union(*au_set.parts) == subjects
    for name, members in zip(facs.PARTS, au_set.parts, strict=True):
        assert {au_set.part_of(member) for member in members} == {name}
    with pytest.raises(ValueError, match="no subject 'X1'"):
        au_set.part_of("X1")


def test_merging_gives_the_papers_three_regions():
    merged = facs.BP4D.for_variant("paper")
    assert [region.num_combinations for region in merged.regions] == [16, 2, 128]
    assert merged.regions[2].name == "down"
    assert facs.BP4D.for_variant("reference") is facs.BP4D
    assert facs.DISFA.for_variant("paper").regions == facs.DISFA.regions


def test_the_table_refuses_contradictions():
    region = facs.RegionGroup("up", "upper", (1, 2))
    with pytest.raises(ValueError, match="every AU exactly once"):
        facs.AUSet("x", "X", (1, 2, 4), (region,), False, 25.0)
    with pytest.raises(ValueError, match="lower case"):
        facs.AUSet("Bad", "X", (1, 2), (region,), False, 25.0)
    with pytest.raises(ValueError, match="band"):
        facs.AUSet("x", "X", (1,), (facs.RegionGroup("up", "top", (1,)),), False, 25.0)
    with pytest.raises(ValueError, match="exists already"):
        facs.register(facs.AUSet("bp4d", "X", (1, 2), (region,), False, 25.0))


def test_names_do_not_depend_on_case():
    assert facs.get("BP4D") is facs.BP4D
    with pytest.raises(ValueError, match="known: bp4d, disfa"):
        facs.get("ckplus")
