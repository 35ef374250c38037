"""What CSV files of other programs have in common."""

from collections.abc import Sequence


def separator_hint(header: Sequence[str]) -> str:
    """Words for a header that is one cell because its columns are not separated by commas; else nothing."""
    for separator, name in ((";", "semicolons"), ("\t", "tabulators")):
        if len(header) == 1 and separator in header[0]:
            return f"; its columns are separated by {name}: save the file with commas"
    return ""
