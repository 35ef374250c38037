"""Recordings with what overlay and page must cope with, and the command that makes both of them."""

import dataclasses
import html.parser
import json
import re
from pathlib import Path

import numpy as np
from PIL import Image

from mdhr_jax.predict.__main__ import main
from mdhr_jax.predict.table import require_pandas
from tests.predict.scene import frame
from tests.predict.test_command import write_detections, write_video

NAME = "talk <1> & 'x'"
TIMES = [500, 533, 620, 660, 700, 740, 1400, 1433, 1500, 1533, 1600, 1700, 1800, 1900]
"""Milliseconds; the rate varies, and the first is not shown at 0."""

LOST = (4, 5)


def scene():
    """One person but for two frames; another joins in frame 7."""
    return [
        frame(*([] if t in LOST else [(60 + 3 * t, 80)]), *([(240, 76)] if t >= 6 else []))
        for t in range(len(TIMES))
    ]


def write_recordings(root: Path) -> dict[str, Path]:
    """A video, a photograph of two people, three pictures that are one video, and a video of nobody."""
    frames = scene()
    root.mkdir(exist_ok=True)
    found = {"talk": write_video(root / f"{NAME}.mkv", frames, TIMES)}
    found["still"] = root / "still.png"
    Image.fromarray(frames[8]).save(found["still"])
    found["series"] = root / "series"
    found["series"].mkdir()
    for number, pixels in enumerate(frames[:3]):
        Image.fromarray(pixels).save(found["series"] / f"{number}.png")
    found["nobody"] = write_video(root / "nobody.mp4", [frame()] * 5)
    contents = {NAME: frames, "still": frames[8:9], "series": frames[:3], "nobody": []}
    for name, those in contents.items():
        write_detections(root / "faces", name, those)
    return found


@dataclasses.dataclass(frozen=True)
class Made:
    """What the command wrote.

    Attributes:
        root: of the recordings.
        inputs: by short name.
        out: folder of the results.
        run: the checkpoint.
    """

    root: Path
    inputs: dict[str, Path]
    out: Path
    run: Path

    def path(self, name: str, ending: str) -> Path:
        return self.out / f"{NAME if name == 'talk' else name}{ending}"

    def table(self, name: str):
        return require_pandas().read_csv(self.path(name, ".csv"))

    def facts(self, name: str) -> dict:
        return json.loads(self.path(name, ".json").read_text())

    def page(self, name: str) -> str:
        return self.path(name, ".html").read_text(encoding="utf-8")

    def predict(self, *arguments, out: Path | None = None, run: Path | None = None) -> int:
        options = ["--checkpoint", run or self.run, "--out", out or self.out]
        options += ["--detections", self.root / "faces"]
        return main([*map(str, arguments), *map(str, options)])


def make(root: Path, run: Path) -> Made:
    made = Made(root, write_recordings(root), root / "out", run)
    assert made.predict(*made.inputs.values(), "--overlay", "--report") == 0
    return made


class Outline(html.parser.HTMLParser):
    """A page's elements; insists that every one that is opened is closed where it belongs."""

    EMPTY = frozenset({"meta", "img", "br", "link", "input", "hr"})

    def __init__(self, text: str):
        super().__init__(convert_charrefs=True)
        self.open, self.elements, self.texts = [], [], {}
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append((tag, dict(attrs).get("id")))

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open[-1][0] == tag, f"</{tag}> closes {self.open[-1]}"
        self.open.pop()

    def handle_data(self, data):
        for key in {name for _, name in self.open if name} | {tag for tag, _ in self.open}:
            self.texts[key] = self.texts.get(key, "") + data

    def words(self, key: str) -> str:
        return re.sub(r"\s+", " ", self.texts.get(key, "")).strip()

    @property
    def data(self) -> dict:
        return json.loads(self.texts["data"])


def unpacked(text: str, kind: str) -> np.ndarray:
    import base64

    return np.frombuffer(base64.b64decode(text), kind)
