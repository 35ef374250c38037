"""Parquet tables hold what CSV tables hold, and are there whole or not at all."""

import contextlib

import numpy as np

from mdhr_jax.predict import output, table
from mdhr_jax.predict.output import CSV, PARQUET
from mdhr_jax.predict.parquet import require_pyarrow
from mdhr_jax.predict.rows import Row
from mdhr_jax.predict.table import require_pandas

AUS = (1, 12)
WORK = {"mode": "stream"}


def rows(count):
    """A face in two frames of three, one without a time."""
    rng = np.random.default_rng(0)
    for i in range(count):
        if i % 3 == 1:
            yield Row(i + 1, None, i / 30, None, None, None)
            continue
        scores = rng.random(2).astype(np.float32)
        yield Row(i + 1, i % 2, None if i == 3 else i / 30, 0.98765432, scores, scores >= np.float32(0.5))


def write(tmp_path, count, kinds=(CSV, PARQUET)):
    with claimed(tmp_path, "v1.5", kinds) as place, output.TableFile(place, AUS, WORK) as file:
        for row in rows(count):
            file.write(row)
        file.finish({"protocol": "paper"})


def claimed(tmp_path, name, kinds):
    return output.claimed(tmp_path, name, WORK, set(), kinds=kinds)


def place_of(*arguments):
    with claimed(*arguments) as place:
        return place


def test_both_tables_say_the_same(tmp_path, monkeypatch):
    """Through pandas, whatever number of row groups there are."""
    monkeypatch.setattr("mdhr_jax.predict.parquet._ROWS_A_GROUP", 4)
    write(tmp_path, 10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v1.5.csv", "v1.5.json", "v1.5.parquet"]
    pandas = require_pandas()
    csv, parquet = pandas.read_csv(tmp_path / "v1.5.csv"), pandas.read_parquet(tmp_path / "v1.5.parquet")
    assert list(csv.columns) == list(parquet.columns) == list(table.columns(AUS))
    scores = ["AU01_p", "AU12_p"]
    assert (parquet[scores].dtypes == np.float32).all()
    np.testing.assert_array_equal(csv[scores].to_numpy(np.float32), parquet[scores])
    rest = [name for name in csv.columns if name not in scores]
    np.testing.assert_array_equal(csv[rest].to_numpy(float), parquet[rest].to_numpy(float))
    _, arrow_parquet = require_pyarrow()
    stored = arrow_parquet.read_table(tmp_path / "v1.5.parquet")
    assert stored["face_id"].null_count == 3
    assert str(stored.schema.field("AU01_c").type) == "int8"
    assert arrow_parquet.ParquetFile(tmp_path / "v1.5.parquet").num_row_groups == 3


def test_what_is_interrupted_leaves_nothing(tmp_path):
    with (
        contextlib.suppress(KeyboardInterrupt),
        claimed(tmp_path, "v", (PARQUET,)) as place,
        output.TableFile(place, AUS, WORK) as file,
    ):
        file.write(next(rows(1)))
        assert sorted(path.name for path in tmp_path.iterdir()) == ["v.json.part", "v.parquet.part"]
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_table_of_the_other_kind_is_made_beside(tmp_path):
    write(tmp_path, 3, (CSV,))
    assert place_of(tmp_path, "v1.5", (CSV,)).complete
    both = place_of(tmp_path, "v1.5", (CSV, PARQUET))
    assert (both.csv.name, both.complete) == ("v1.5.csv", False)
    write(tmp_path, 3, (PARQUET,))
    assert place_of(tmp_path, "v1.5", (CSV, PARQUET)).complete
    # A Parquet file that is somebody else's is left alone.
    (tmp_path / "mine.parquet").touch()
    assert place_of(tmp_path, "mine", (PARQUET,)).csv.name == "mine_2.csv"
    assert place_of(tmp_path, "mine", (CSV,)).csv.name == "mine.csv"
