"""The page: well-formed, in need of nothing; its numbers are the table's, its maps those of the scores."""

import base64
import functools
import io
import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mdhr_jax.faces import media, options
from mdhr_jax.faces.people import align_people
from mdhr_jax.models.explain import explain
from mdhr_jax.predict import checkpoint, reading
from mdhr_jax.predict.page import data as page_data
from mdhr_jax.predict.page import file as page_file
from mdhr_jax.predict.page import moments
from mdhr_jax.predict.page.moments import MOST, MOST_FACES, Moment
from mdhr_jax.predict.reading import Person
from mdhr_jax.predict.scorers import as_input
from mdhr_jax.predict.second_look import Source
from mdhr_jax.predict.trail import Trail
from tests.predict import conftest
from tests.predict.conftest import AU_SET, CLIP, save_run
from tests.predict.looks import LOST, NAME, Outline, unpacked

pytestmark = pytest.mark.usefixtures("unoptimized")
NUM = AU_SET.num_aus


@pytest.mark.parametrize("name", ["talk", "still", "series", "nobody"])
def test_pages_are_whole_and_need_nothing_else(made, name):
    text = made.page(name)
    outline = Outline(text)
    ids = [attrs["id"] for _, attrs in outline.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for _, attrs in outline.elements:
        for key in ("aria-labelledby", "aria-describedby"):
            assert set(attrs.get(key, "").split()) <= set(ids)
        assert not {"src", "href", "action", "srcset"} & set(attrs)
    assert not re.search(r"https?:|//[a-z]+\.|@import|url\((?!#)|fetch\(|XMLHttpRequest|import\(", text)
    (policy,) = [a["content"] for tag, a in outline.elements if a.get("http-equiv")]
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert [tag for tag, _ in outline.elements].count("script") == 2
    # Every element that the script asks for is there.
    asked = set(re.findall(r'(?:element|getElementById)\("([\w-]+)"\)', text))
    assert {"timeline", "data", "network"} <= asked <= set(ids)
    for picture in outline.data["pictures"].values():
        kind, content = picture["src"].split(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(content))) as image:
            assert image.size == (picture["width"], picture["height"])


def test_names_are_text_whatever_is_in_them(made):
    text = made.page("talk")
    assert "<1>" not in text
    assert "talk &lt;1&gt; &amp; &#x27;x&#x27;.mkv" in text
    assert Outline(text).words("h1") == f"{NAME}.mkv"
    assert page_file._readable("a\udcff.mp4") == "a?.mp4"


@pytest.mark.parametrize("name", ["talk", "still", "series"])
def test_scores_are_those_of_the_table(made, name):
    data, table = Outline(made.page(name)).data, made.table(name)
    assert (data["together"], data["frames"]) == (1, table.frame.max())
    if data["timed"]:
        np.testing.assert_array_equal(
            unpacked(data["times"], "<f8"), table.groupby("frame").timestamp.first()
        )
    else:
        assert data["times"] is None
    assert [face["id"] for face in data["faces"]] == sorted(table.face_id.dropna().unique())
    for face in data["faces"]:
        low = unpacked(face["low"], "<f4").reshape(-1, NUM)
        rows = table[table.face_id == face["id"]]
        np.testing.assert_array_equal(
            low[rows.frame - 1 - face["start"]], rows.filter(like="_p").to_numpy(np.float32)
        )
        assert np.isfinite(low).all(1).sum() == len(rows) == face["frames"]
        limits = np.asarray([au["threshold"] for au in data["aus"]], np.float32)
        np.testing.assert_array_equal(
            low[rows.frame - 1 - face["start"]] >= limits, rows.filter(like="_c").to_numpy(bool)
        )
        assert "high" not in face
    for one in data["moments"]:
        row = table[(table.frame == one["frame"]) & (table.face_id == one["face"])].iloc[0]
        assert one["scores"] == pytest.approx(row[["AU01_p", "AU12_p"]].tolist(), abs=1e-7)
        assert one["present"] == row[["AU01_c", "AU12_c"]].astype(bool).tolist()
        assert one["time"] == (None if np.isnan(row.timestamp) else row.timestamp)


def aligned(made, trained, recording):
    """Everybody's faces as the command found them."""
    detector = options.detector(trained.recipe, made.root / "faces", recording.paths[0].stem)
    return align_people(recording.frames(), trained.recipe, detector)


def source_of(made, name, run=None, mode="stream"):
    """What the page is made of, from its table."""
    (recording,) = media.recordings([made.inputs[name]])
    trained = checkpoint.load(run or made.run)
    trail = Trail(made.out)
    for one in aligned(made, trained, recording):
        trail.add(one)
    csv = made.path(name, ".csv")
    return Source(recording, csv, reading.overview(csv, AU_SET.aus), trail, trained, mode, None)


def test_long_recordings_are_put_together_by_lowest_and_highest(made, monkeypatch):
    monkeypatch.setattr(page_data, "MOST_SCORES", 40)
    source, table = source_of(made, "talk"), made.table("talk")
    data = page_data._series(source, moments.people_shown(source.overview))
    together = data["together"]
    # 14 and 8 frames of 2 AUs, twice.
    assert together == 3
    times = table.groupby("frame").timestamp.first()
    np.testing.assert_array_equal(unpacked(data["times"], "<f8"), times[::together])
    for face in data["faces"]:
        rows = table[table.face_id == face["id"]].assign(bin=lambda t: (t.frame - 1) // together)
        steps = unpacked(face["low"], "<f4").reshape(-1, NUM)
        places = np.arange(len(steps)) + face["start"]
        assert places[0] == rows.bin.min()
        assert places[-1] == rows.bin.max()
        grouped = rows.groupby("bin")
        for key, how in (("low", "min"), ("high", "max")):
            expected = grouped[["AU01_p", "AU12_p"]].agg(how).reindex(places)
            found = unpacked(face[key], "<f4").reshape(-1, NUM)
            np.testing.assert_array_equal(found, expected.to_numpy(np.float32))
        share = grouped[["AU01_c", "AU12_c"]].mean().reindex(places).fillna(0)
        np.testing.assert_allclose(
            unpacked(face["share"], "u1").reshape(-1, NUM) / 255, share.astype(float), atol=0.003
        )


def whole(trained, images):
    clips = as_input(jnp.asarray(images[None]), trained)
    return jax.jit(functools.partial(explain, trained.model))(trained.params, trained.batch_stats, clips)


@pytest.mark.parametrize("mode", ["stream", "clips"])
def test_weights_and_attention_are_those_of_the_scores(made, mode):
    """Around each key frame only; equal to those of the model on the whole run, or on evaluation's window."""
    source = source_of(made, "talk", mode=mode)
    trained = source.trained
    chosen = moments.choose(source.overview, source.trail)
    looked = {(one.moment.frame, one.moment.face_id): one for one in moments.look(chosen, source)}
    assert looked.keys() == {(one.frame, one.face_id) for one in chosen}
    checked = 0
    crops: dict = {}
    for one in aligned(made, trained, source.recording):
        for face in one.faces:
            crops.setdefault((face.track, face.run), (one.index + 1, []))[1].append(face.image)
    for (track, _), (first, images) in crops.items():
        images = np.stack(images)
        if mode == "clips":
            rest = -len(images) % CLIP
            padded = np.concatenate([images, np.repeat(images[-1:], rest, 0)])
            parts = [whole(trained, part) for part in np.split(padded, len(padded) // CLIP)]
        else:
            parts = [whole(trained, images)]
        weights = np.concatenate([np.asarray(part.scale_weights)[0] for part in parts])
        attention = np.concatenate([np.asarray(part.attention)[0] for part in parts])
        for place, image in enumerate(images):
            one = looked.get((first + place, track))
            if one is None:
                continue
            np.testing.assert_array_equal(one.crop, image)
            np.testing.assert_allclose(one.scale_weights, weights[place], atol=2e-5)
            np.testing.assert_allclose(one.attention, attention[place], atol=2e-5)
            checked += 1
    assert checked == len(chosen) >= 12
    # What the page has of it.
    shown = {(m["frame"], m["face"]): m for m in Outline(made.page("talk")).data["moments"]}
    if mode == "stream":
        for key, one in looked.items():
            np.testing.assert_allclose(
                np.asarray(shown[key]["weights"]), np.moveaxis(one.scale_weights, -1, 0), atol=2e-4
            )
            np.testing.assert_allclose(np.asarray(shown[key]["weights"]).sum(0), 1, atol=1e-3)
            np.testing.assert_allclose(np.asarray(shown[key]["attention"]).sum(1), 1, atol=1e-3)


def test_key_frames_are_spread_and_few():
    frames = 5000
    rng = np.random.default_rng(0)
    people = {}
    for i in range(40):
        first, last = (1, frames) if i == 0 else (10 * i, 10 * i + 60 - i)
        best = rng.random(NUM).astype(np.float32)
        where = rng.integers(first, last + 1, NUM)
        count = last - first + 1
        people[i] = Person(i, first, last, count, np.zeros(NUM), np.zeros(NUM, int), best, where)

    class Everybody:
        def __iter__(self):
            for number in range(1, frames + 1):
                yield tuple(
                    moments.Spot(p.face_id, p.face_id, np.zeros(4, np.float32), np.zeros((2, 3)))
                    for p in people.values()
                    if p.first <= number <= p.last
                )

    overview = reading.Overview(frames, frames, True, 200.0, people)
    chosen = moments.choose(overview, Everybody())
    assert len(chosen) <= MOST + MOST_FACES
    by_face = {one.face_id: [m for m in chosen if m.face_id == one.face_id] for one in chosen}
    # Those seen longest, each of them at least once; the first most often and throughout.
    assert set(by_face) == set(range(MOST_FACES))
    assert np.diff([one.frame for one in by_face[0]]).max() < 2 * frames / len(by_face[0])
    for au in range(NUM):
        strongest = max(range(MOST_FACES), key=lambda i: people[i].best[au])
        (moment,) = [m for m in chosen if au in m.strongest]
        assert (moment.face_id, moment.frame) == (strongest, people[strongest].best_frame[au])


def test_a_photograph_and_nobody(made):
    still = Outline(made.page("still"))
    assert [(one["frame"], one["face"]) for one in still.data["moments"]] == [(1, 0), (1, 1)]
    assert len(still.data["pictures"]) == 1
    nobody = Outline(made.page("nobody"))
    assert "No face was found in any of them" in nobody.words("header")
    assert nobody.data["faces"] == []
    assert [one["face"] for one in nobody.data["moments"]] == [None] * 3
    assert "Nobody was seen." in nobody.words("main")


def test_facts_and_people_can_be_read_without_the_script(made):
    outline, facts = Outline(made.page("talk")), made.facts("talk")
    words = outline.words("dl")
    assert facts["checkpoint"]["sha256"] in words
    assert "AU1 0.3, AU12 0.55" in words
    assert "subjects kept out of training" in words
    assert "no intensities" in words
    assert f"jax {facts['versions']['jax']}" in words
    assert "precomputed 1" in words
    table = made.table("talk")
    rows = table[table.face_id == 0]
    share, mean = rows.AU12_c.mean(), rows.AU12_p.mean()
    assert f"{share:.0%}" in outline.words("tbody")
    assert f"{mean:.2f}" in outline.words("tbody")
    assert f"{len(table.frame.unique()) - len(LOST)} with a face" in outline.words("header")
    # These are no drawn faces as far as the checkpoint says.
    assert "Not valid for real faces" not in made.page("talk")


def test_models_without_dynamics_or_graph_and_of_drawn_faces(made, tmp_path, monkeypatch):
    from mdhr_jax import facs

    original = conftest.small_config

    def without(au_set=AU_SET):
        config = original(au_set)
        config.model.mfd = config.model.crm = False
        return config

    monkeypatch.setattr(conftest, "small_config", without)
    run = save_run(tmp_path / "run", facs.SYNTHETIC_DISFA)
    assert made.predict(made.inputs["still"], "--report", out=tmp_path / "out", run=run) == 0
    text = (tmp_path / "out" / "still.html").read_text()
    outline = Outline(text)
    assert outline.data["absent"] == {
        "weights": "the model has no multi-scale facial dynamics (MFD)",
        "graph": "the model has no cross-regional graph (CRM)",
    }
    assert all("weights" not in one and "attention" not in one for one in outline.data["moments"])
    assert "Not valid for real faces" in outline.words("header")
    assert [au["name"] for au in outline.data["aus"]] == list(facs.SYNTHETIC_DISFA.au_names)


def test_what_goes_wrong_leaves_no_half_page(made, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    original = page_data.collect

    def collect(source):
        original(source)
        raise ValueError("gone wrong")

    monkeypatch.setattr(page_data, "collect", collect)
    assert made.predict(made.inputs["series"], "--report", out=out) == 1
    assert "gone wrong" in capsys.readouterr().err
    assert sorted(path.name for path in out.iterdir()) == ["series.csv", "series.json"]
    monkeypatch.undo()
    assert made.predict(made.inputs["series"], "--report", out=out) == 0
    assert sorted(path.name for path in out.iterdir()) == ["series.csv", "series.html", "series.json"]
    listed = json.loads((out / "series.json").read_text())["views"]["report"]
    assert listed == {"file": "series.html", "bytes": (out / "series.html").stat().st_size}


def test_moments_of_no_face():
    overview = reading.Overview(2, 0, True, 0.1, {})
    assert moments.choose(overview, ()) == [Moment(1, None), Moment(2, None)]
