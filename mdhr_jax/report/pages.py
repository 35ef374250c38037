"""A report in words: what it says about each study, its tables, and every directory that was found."""

from collections.abc import Mapping
from pathlib import Path

from mdhr_jax import source
from mdhr_jax.report import summary, tables
from mdhr_jax.report.bootstrap import LEVEL
from mdhr_jax.report.collect import Outcome
from mdhr_jax.report.document import Block, Bullets, Cell, Grid, Heading, Paragraph, Picture
from mdhr_jax.report.numbers import UNDEFINED
from mdhr_jax.report.results import Results, StudyResult, TableResult
from mdhr_jax.report.studies import Place, Study
from mdhr_jax.tables import rows

FIGURES = "figures"
"""Folder beside the report whose pictures it shows."""


_HOW_TO_READ = (
    "Two protocols stand side by side and are never mixed. paper: threshold 0.5, and the checkpoint "
    "with the best mean F1 on the test fold itself, as the reference does; the paper's numbers were "
    "made so. honest: subjects kept out of the training folds choose the checkpoint and a threshold for "
    "each AU, and the test fold is looked at once.",
    "A number is a mean over AUs, then over folds ({folds}), then over seeds. A row of which no seed "
    "has every fold is a gap and has no mean; a seed that lacks a fold takes no part.",
    "Numbers in brackets are {level:.0%} intervals: {resamples} times, each fold's subjects are drawn "
    "again, as many as it has, and the same number is made from them. They say how much the number "
    "depends on who was tested, not on the chance in training, of which only several seeds tell.",
    "A difference of two rows is made from pairs: the same subjects are drawn for both. * marks a "
    "difference whose interval excludes zero. Of twenty true zeros one is marked by chance, and no "
    "allowance is made for looking at many.",
    "F1 of an AU that is neither present nor predicted is undefined (–). In the mean F1 it counts 0, as "
    "in the reference; `F1, undefined left out` is the mean without it. All other measures leave "
    "undefined AUs out of their means.",
    "F1 where the AU changes looks only at evaluation windows in which the AU is both present and "
    "absent. Always present is the F1 of calling an AU present in every frame. MCC is given times 100.",
    "Average precision and ROC-AUC have no interval: they come from ranks, not from counts.",
)


def write(results: Results, out: Path) -> list[Block]:
    """The whole report.

    Args:
        results: what it is to say.
        out: where it will lie; pictures in its `FIGURES` are shown.
    """
    blocks: list[Block] = [Heading(1, "MDHR: the paper's tables and this project's runs")]
    blocks += _introduction(results)
    for study in results.studies:
        blocks += _study(study, results)
    blocks += _without_runs(results)
    blocks += _runs(results)
    pictures = sorted((out / FIGURES).rglob("*.png"))
    if pictures:
        blocks.append(Heading(2, "Figures"))
        blocks += [
            Picture(path, path.relative_to(out).as_posix(), _caption(path.relative_to(out / FIGURES)))
            for path in pictures
        ]
    return blocks


def _caption(picture: Path) -> str:
    """What a picture shows, by its name; in front, the run, which its folder is named after."""
    shown = picture.stem.replace("_", " ").replace("-", " ")
    return shown if picture.parent == Path() else f"{picture.parent.as_posix()}: {shown}"


def _introduction(results: Results) -> list[Block]:
    values = {
        "folds": ", ".join(map(str, results.settings.folds)),
        "level": LEVEL,
        "resamples": results.settings.resamples,
    }
    used = sum(len(of) for s in results.studies for models in s.study.used.values() for of in models.values())
    blocks: list[Block] = [
        Paragraph(
            f"{len(results.found)} directories were found, {used} finished runs among them are used; the "
            "section Runs at the end says of each what it is and why it is used or not. A number points to "
            "the runs it was made from (R1, R2 and so on)."
        ),
        *summary.write(results),
        Heading(2, "How to read the numbers"),
        Bullets(tuple(text.format(**values) for text in _HOW_TO_READ)),
    ]
    if not results.studies:
        blocks.append(Paragraph("No run belongs to a row of the tables.", warning=True))
    return blocks


def _study(result: StudyResult, results: Results) -> list[Block]:
    study = result.study
    blocks: list[Block] = [Heading(2, f"Study {study.number}: {study.title}")]
    if study.synthetic:
        blocks.append(
            Paragraph(
                "The faces of this study are drawn. The paper's numbers stand beside them for reference; no "
                "difference from them is given, because nothing here reproduces them.",
                warning=True,
            )
        )
    if study.scale == "laptop":
        blocks.append(
            Paragraph(
                "Laptop scale: whatever network a row is named after, its runs have a narrow backbone that "
                "is trained briefly on few subjects (configs/tables.py). A row shows which modules are in it "
                "and that they run; the size of a number says nothing of the network in its name.",
                warning=True,
            )
        )
    if study.departures:
        blocks.append(
            Paragraph(
                "The recipe departs from that of configs/tables.py in what follows, so that this is a study "
                "of its own.",
                warning=True,
            )
        )
        blocks.append(Bullets(study.departures))
    blocks.append(Paragraph(_ingredients(study, results)))
    if len(results.settings.folds) < 3:
        folds = ", ".join(map(str, results.settings.folds))
        blocks.append(
            Paragraph(
                f"Means are over fold {folds} alone, as was asked for; the paper's are over three folds.",
                warning=True,
            )
        )
    for table in result.tables:
        blocks += _table(table, result, results)
    titles = _titles(result)
    for arm in study.arms:
        grid = tables.all_measures(result, arm, titles)
        if not grid.rows:
            continue
        blocks += [Heading(3, f"Beside F1, protocol {arm}"), grid]
        for model, title in titles.items():
            entry = result.entries.get((arm, model))
            if entry is not None and entry.seeds:
                blocks.append(tables.of_model(result, entry, title))
    return blocks


def _ingredients(study: Study, results: Results) -> str:
    """What the runs of a study share, and why those of others like it stand apart."""
    shared = "; ".join(f"{name}: {text}" for name, text in study.ingredients)
    sentences = [f"All runs of this study share: {shared}."]
    commits = {
        run.outcome.commit
        for models in study.used.values()
        for runs in models.values()
        for run in runs.values()
        if run.outcome is not None and run.outcome.commit is not None
    }
    if len(commits) > 1:
        sentences.append(f"They are of {len(commits)} commits of the project, see section Runs.")
    for result in results.studies:
        other = result.study
        if other is not study and other.title == study.title:
            names = [*study.unlike(other), *["recipe"] * (other.departures != study.departures)]
            # Without one of these, runs that know too little about themselves could belong to either.
            why = f"differs in {', '.join(names)}" if names else "holds runs that may be of either"
            sentences.append(f"Study {other.number}, which is alike, {why}.")
    return " ".join(sentences)


def _table(table: TableResult, result: StudyResult, results: Results) -> list[Block]:
    arms = result.study.arms
    blocks: list[Block] = [Heading(3, f"Table {table.name}: {table.title}")]
    if hint := summary.fold_hint(table):
        blocks.append(Paragraph(hint, warning=True))
    blocks.append(tables.main(table, result))
    if not table.has_runs:
        return [*blocks, Paragraph("No run of this study is of a row of this table.")]
    if any(row.per_au for row in table.printed):
        blocks += [tables.per_au(table, result, arm) for arm in arms]
    blocks += [tables.folds(table, result, arm, results.settings) for arm in arms]
    for steps in (True, False):
        if sentences := tables.verdicts(table, arms, steps=steps):
            where = " on these drawn faces" if result.study.synthetic else ""
            which = (
                "in steps (rows that differ by one module or one setting)" if steps else "in all other pairs"
            )
            blocks += [Paragraph(f"The paper's orderings{where}, {which}:"), Bullets(tuple(sentences))]
        if (grid := tables.comparisons(table, result, steps=steps)) is not None:
            blocks.append(grid)
    return blocks


def _without_runs(results: Results) -> list[Block]:
    """Tables of which there is nothing but what the paper prints."""
    blocks: list[Block] = []
    for name in results.without_runs:
        if not any(table.name == name for result in results.studies for table in result.tables):
            blocks += [Heading(3, f"Table {name}: {rows.TITLES[name]}"), tables.without_runs(name)]
    return [Heading(2, "Tables without runs"), *blocks] if blocks else []


def _titles(result: StudyResult) -> dict[str, str]:
    """Each model of a study by the rows that it is, in the order of the tables."""
    names: dict[str, list[str]] = {}
    of_model = {place.model: place.rows for place in result.study.places.values()}
    for table, members in rows.ROWS.items():
        for row in members:
            for model, its_rows in of_model.items():
                if (table, row.name) in its_rows:
                    names.setdefault(model, []).append(f"{table}: {row.title}")
    return {model: "; ".join(titles) for model, titles in names.items()}


def _runs(results: Results) -> list[Block]:
    places: dict[str, tuple[int, Place]] = {}
    for result in results.studies:
        places |= {name: (result.study.number, place) for name, place in result.study.places.items()}
    lines = []
    for run in results.found:
        number, place = places.get(run.id, (None, None))
        outcome = run.outcome
        lines.append(
            tuple(
                Cell(text, target=target)
                for text, target in (
                    (run.id, run.id),
                    (run.path, ""),
                    (run.kind, ""),
                    ("no: " + results.reasons[run.id] if run.id in results.reasons else "yes", ""),
                    (UNDEFINED if number is None else str(number), ""),
                    (_rows(place), ""),
                    (UNDEFINED if place is None else place.arm, ""),
                    (UNDEFINED if place is None else str(place.fold), ""),
                    (UNDEFINED if place is None else str(place.seed), ""),
                    (run.config_hash or UNDEFINED, ""),
                    (UNDEFINED if outcome is None else str(outcome.result["step"]), ""),
                    (UNDEFINED if outcome is None else outcome.checkpoint or "is gone", ""),
                    (UNDEFINED if outcome is None else _code(outcome), ""),
                    (UNDEFINED if outcome is None else outcome.predictions_sha256[:12], ""),
                )
            )
        )
    header = (
        "Id",
        "Directory",
        "State",
        "Used",
        "Study",
        "Rows",
        "Protocol",
        "Fold",
        "Seed",
        "Config hash",
        "Step",
        "Checkpoint",
        "Version, commit",
        "SHA-256 of predictions",
    )
    caption = "Every directory found, and whether its numbers are used"
    on_screen = Grid(caption, header, tuple(lines), numeric=False, where="screen")
    return [Heading(2, "Runs"), on_screen, *_runs_in_print(results, places)]


def _runs_in_print(results: Results, places: Mapping[str, tuple[int, Place]]) -> list[Block]:
    """The same for paper, where one table would be too wide: what numbers are made of, and what is left."""
    used, left = [], []
    for run in results.found:
        if run.id in results.reasons or run.outcome is None:
            left.append((run.id, run.path, run.kind, results.reasons.get(run.id, "")))
            continue
        _, place = places[run.id]
        step, checkpoint = run.outcome.result["step"], run.outcome.checkpoint
        hashed = run.config_hash or UNDEFINED
        rows = _rows(place)
        identity = (run.id, run.path, rows, place.arm, str(place.fold), str(place.seed), hashed)
        used.append((*identity, str(step), checkpoint or "is gone", _code(run.outcome)))
    blocks: list[Block] = []
    for caption, header, lines in (
        (
            "Runs that the numbers are made from",
            (
                "Id",
                "Directory",
                "Rows",
                "Protocol",
                "Fold",
                "Seed",
                "Config hash",
                "Step",
                "Checkpoint",
                "Version, commit",
            ),
            used,
        ),
        ("Directories that no number is made from", ("Id", "Directory", "State", "Why"), left),
    ):
        if lines:
            cells = tuple(tuple(map(Cell, line)) for line in lines)
            blocks.append(Grid(caption, header, cells, numeric=False, where="print"))
    return blocks


def _code(outcome: Outcome) -> str:
    """What computed a run: version and, from a clone, commit; as far as is known."""
    if outcome.version is None:
        return UNDEFINED
    if outcome.commit is None:
        return outcome.version
    changed = source.DIRTY if outcome.commit.endswith(source.DIRTY) else ""
    return f"{outcome.version}, {outcome.commit[:12]}{changed}"


def _rows(place: Place | None) -> str:
    return UNDEFINED if place is None else ", ".join(f"{table}:{row}" for table, row in place.rows)
