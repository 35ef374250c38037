"""Versions of the packages that decide the pixels of crops and the bytes of records."""

import importlib.metadata

RECORDS = ("numpy", "tensorflow", "tensorflow-datasets")
"""Packages that write records."""

CROPS = ("numpy", "pillow")
"""Packages that cut out every face."""

VIDEO = ("av",)
"""Packages that decode video files (PyAV)."""

MTCNN = ("mtcnn", "tensorflow")
"""Packages that find faces by MTCNN."""

_OTHER_NAMES = {"tensorflow": ("tensorflow", "tensorflow-cpu")}


def of(*packages: str) -> dict[str, str]:
    """Installed versions by package; without those that are not installed, or do not say.

    Args:
        packages: their names; ``tensorflow`` stands for all its builds.
    """
    found = {}
    for package in sorted(set(packages)):
        for name in _OTHER_NAMES.get(package, (package,)):
            try:
                found[package] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
            break
    return found
