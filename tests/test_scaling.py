"""Efficiency on many GPUs, on paper."""

import dataclasses

import pytest

from mdhr_jax import scaling
from mdhr_jax.scaling import Assumptions, all_reduce_seconds, expect, small_message_seconds

# Messages that take no time on their way, and links that reach what they promise.
IDEAL = Assumptions(reached=1.0, hop_node=0.0, hop_network=0.0)


def test_rings_take_the_time_of_their_slowest_link():
    assert all_reduce_seconds(1e9, 1, IDEAL) == 0
    # Two GPUs send half of the array there and half of the sum back.
    assert all_reduce_seconds(300e9, 2, IDEAL) == pytest.approx(1.0)
    assert all_reduce_seconds(300e9, 8, IDEAL) == pytest.approx(2 * 7 / 8)
    # Between nodes each GPU has its eighth: with many nodes, twice that over its own card.
    many = all_reduce_seconds(200e9, 8 * 1024, IDEAL) - all_reduce_seconds(200e9, 8, IDEAL)
    assert many == pytest.approx(2 * 25e9 / 25e9, rel=1e-2)
    slower = dataclasses.replace(IDEAL, reached=0.5)
    assert all_reduce_seconds(1e9, 64, slower) == pytest.approx(2 * all_reduce_seconds(1e9, 64, IDEAL))
    with pytest.raises(ValueError, match="12 GPUs are no whole number of nodes of 8"):
        all_reduce_seconds(1e9, 12, IDEAL)


def test_small_messages_take_their_way():
    assumed = Assumptions(hop_node=1.0, hop_network=10.0)
    assert [small_message_seconds(gpus, assumed) for gpus in (1, 2, 8, 64)] == [0, 2, 6, 66]
    assert all_reduce_seconds(0, 16, assumed) == 2 * 7 * 1.0 + 2 * 10.0


def test_efficiency_is_the_share_of_a_step_in_which_gpus_compute():
    quick, slow = (expect(seconds, 300e9, 0, 2, IDEAL) for seconds in (1.0, 9.0))
    assert (quick.exposed, quick.overlapped) == pytest.approx((1 / 2, 1 / (1 + 1 / 3)))
    assert (slow.exposed, slow.overlapped) == pytest.approx((0.9, 1.0))
    waiting = expect(1.0, 0, 3, 2, Assumptions(hop_node=1.0, hidden=2.0))
    assert waiting.statistics == 6
    assert waiting.overlapped == pytest.approx(1 / 7)
    assert expect(1.0, 1e9, 9, 1, Assumptions()).exposed == 1


def test_the_command_says_what_must_be_decoded(capsys):
    # 1000 MFLOP a frame at 31.2 TFLOP/s: 128 frames in 4.1 ms.
    given = ["--mflop", "1000", "--utilisation", "0.1", "--backbone", "tiny", "--gpus", "8", "64"]
    assert scaling.main([*given, "--decoded", "500"]) == 0
    out = capsys.readouterr().out
    assert "4 ms a step on one (assumed: 1,000 MFLOP a frame at 10% of the 312 TFLOP/s of a A100" in out
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines()[-2:]]
    assert [row[0] for row in rows] == ["8", "64"]
    for row in rows:
        efficiency, decoded, of_node, cores = (float(cell.rstrip("%").replace(",", "")) for cell in row[4:])
        assert decoded == pytest.approx(int(row[0]) * 31200 * efficiency / 100, rel=1e-3)
        assert of_node == pytest.approx(decoded / int(row[0]) * 8, rel=1e-3)
        assert cores == pytest.approx(of_node / 500, abs=0.1)


def test_nodes_may_have_other_numbers_of_gpus(capsys):
    assert (
        scaling.main(["--step-seconds", "1", "--backbone", "tiny", "--gpus", "8", "--gpus-per-node", "4"])
        == 0
    )
    row = capsys.readouterr().out.splitlines()[-1]
    decoded, of_node = (float(cell.replace(",", "")) for cell in row.split("|")[6:8])
    assert of_node == pytest.approx(decoded / 2, abs=1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "give one of --step-seconds"),
        (["--step-seconds", "1", "--mflop", "1"], "give one of --step-seconds"),
        (["--step-seconds", "-1"], "--step-seconds must be positive, found -1"),
        (["--mflop", "1", "--device", "abacus"], "the peak of abacus in bfloat16 is not known"),
        (["--step-seconds", "1", "--gpus-per-node", "0"], "--gpus-per-node must be positive, found 0"),
        (["--step-seconds", "1", "--gpus", "12"], "no whole number of nodes"),
    ],
)
def test_mistakes_are_told(given, message, capsys):
    assert scaling.main([*given, "--backbone", "tiny"]) == 2
    assert message in capsys.readouterr().err
