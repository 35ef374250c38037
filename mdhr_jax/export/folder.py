"""The folder of an exported model: it has its name only when everything in it is written.

meaning.json     what the numbers mean, which is written last
weights.npz      parameters and statistics by name, not compressed
clips.jaxexport, step1.jaxexport, step16.jaxexport    programs, for ``jax.export.deserialize``
loader.py        runs them, with JAX and NumPy alone
"""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from mdhr_jax.data import temporaries
from mdhr_jax.export import loader
from mdhr_jax.export.programs import PLACES, PLATFORMS, Programs
from mdhr_jax.predict.checkpoint import Trained
from mdhr_jax.predict.meaning import meaning
from mdhr_jax.progress import Progress

_WEIGHTS = "weights.npz"


def refuse(folder: Path) -> None:
    """Makes sure that a folder can be written.

    Raises:
        FileExistsError: it is there already.
    """
    if folder.exists() or folder.is_symlink():
        raise FileExistsError(f"{folder} exists already; name another --out, or remove it")


def write(folder: Path, trained: Trained, check: Callable[[Path], None] | None = None) -> None:
    """Exports a checkpoint.

    Args:
        folder: that is to be made.
        trained: the checkpoint.
        check: given the folder before it gets its name; what it raises leaves nothing.

    Raises:
        FileExistsError: the folder is there already.
        OSError: it cannot be written.
    """
    refuse(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = temporaries.beside(folder)
    scratch.mkdir()
    try:
        _fill(scratch, trained)
        if check is not None:
            check(scratch)
        refuse(folder)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _fill(folder: Path, trained: Trained) -> None:
    programs = Programs(trained)
    makers: dict[str, Callable[[], export.Exported]] = {"clips": programs.clips}
    for places in PLACES:
        makers[f"step{places}"] = lambda places=places: programs.step(places)
    described = {}
    with Progress(len(makers), unit="programs", label="exporting") as progress:
        for name, make in makers.items():
            exported = make()
            path = folder / f"{name}.jaxexport"
            path.write_bytes(exported.serialize())
            described[name] = _entry(path) | _signature(exported)
            progress.update()
    np.savez(folder / _WEIGHTS, allow_pickle=False, **programs.weights)
    shutil.copyfile(loader.__file__, folder / "loader.py")
    content = _facts(trained, programs) | {
        "weights": _entry(folder / _WEIGHTS),
        "state": {name: _described(one) for name, one in programs.state().items()},
        "programs": described,
    }
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    (folder / loader.MEANING).write_text(text, encoding="utf-8")


def _facts(trained: Trained, programs: Programs) -> dict[str, Any]:
    config = trained.model.config
    return {
        "format": loader.FORMAT,
        **meaning(trained),
        "aus": list(trained.au_set.aus),
        "input": {
            "edge": programs.edge,
            "dtype": "uint8",
            "channels": "RGB",
            "what": "aligned faces, cut out by crop_recipe; programs resize and normalise them",
        },
        "output": {"dtype": "float32", "what": "scores in [0, 1], in the order of au_names"},
        "dtypes": sorted({config.dtype, config.param_dtype}),
        # Of a recording of one frame; what cannot move is scored as a clip that does not.
        "still_frames": trained.clip_length if config.uses_dynamics else 1,
        "places": list(PLACES),
        "platforms": list(PLATFORMS),
    }


def _entry(path: Path) -> dict[str, Any]:
    return {"file": path.name, "bytes": path.stat().st_size, "sha256": loader.sha256(path)}


def _signature(exported: export.Exported) -> dict[str, Any]:
    """Arguments and results, without those that have lists of their own (weights and state)."""
    (arguments, _), results = (
        jax.tree.unflatten(tree, avals)
        for tree, avals in ((exported.in_tree, exported.in_avals), (exported.out_tree, exported.out_avals))
    )
    named = [_described(one) if not isinstance(one, Mapping) else None for one in arguments]
    whole = results if isinstance(results, tuple) else (results,)
    return {
        "arguments": ["weights", *("state" if one is None else one for one in named[1:])],
        "results": ["state" if isinstance(one, Mapping) else _described(one) for one in whole],
        "calling_convention_version": exported.calling_convention_version,
    }


def _described(array: Any) -> dict[str, Any]:
    shape = [size if isinstance(size, int) else str(size) for size in array.shape]
    return {"dtype": str(array.dtype), "shape": shape}
