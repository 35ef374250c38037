"""The files of one aligned video: in a folder, or in an archive that holds the same files.

The commands of `data_prep` write archives, one a video: a ZIP file without compression, whose directory
stands at its end, so that one that was cut short cannot be taken for a whole one. It is written under
another name and renamed when all is in it. Equal content gives equal bytes.
"""

import contextlib
import os
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Protocol, runtime_checkable

from mdhr_jax.data import temporaries

ARCHIVE_SUFFIX = ".zip"

_DATE = (1980, 1, 1, 0, 0, 0)
"""The earliest that the format knows; a real one would change the bytes from run to run."""


@runtime_checkable
class Reader(Protocol):
    """Reads the files of a video while it is open."""

    def __call__(self, name: str) -> bytes:
        """Content of a file, named relative to the video.

        Raises:
            FileNotFoundError: it is not there.
            ValueError: it is damaged.
        """
        ...


@runtime_checkable
class VideoFiles(Protocol):
    """Where the files of a video are.

    Attributes:
        path: the folder or archive.
        name: of the video.
    """

    path: Path
    name: str

    def sizes(self) -> dict[str, int]:
        """Bytes of every file by its relative name (``frames/12.jpg``), in order of the names."""
        ...

    def checksums(self, names: Sequence[str]) -> tuple[int, ...]:
        """CRC-32 of the contents of files, by their relative names."""
        ...

    def opened(self) -> contextlib.AbstractContextManager[Reader]:
        """The files, to be read."""
        ...

    def where(self, name: str) -> str:
        """How a file is named in a message."""
        ...


class FolderFiles:
    """A video as a folder."""

    def __init__(self, path: Path):
        self.path, self.name = path, path.name

    def sizes(self) -> dict[str, int]:
        """Bytes of every file by its relative name; hidden files are left out.

        Raises:
            OSError: a folder cannot be read.
        """
        found: dict[str, int] = {}
        for root, folders, files in os.walk(self.path, onerror=_raise):
            folders[:] = [folder for folder in folders if not folder.startswith(".")]
            for name in files:
                file = Path(root, name)
                if not name.startswith("."):
                    found[file.relative_to(self.path).as_posix()] = file.stat().st_size
        return dict(sorted(found.items()))

    def checksums(self, names: Sequence[str]) -> tuple[int, ...]:
        """CRC-32 of the contents of files, which are read: 70 us of a core for one of 20 kB.

        To open them is most of it; reading their ends alone took as long.

        Raises:
            OSError: a file cannot be read.
        """
        return tuple(zlib.crc32((self.path / name).read_bytes()) for name in names)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Reader]:
        """The files, to be read."""
        yield lambda name: (self.path / name).read_bytes()

    def where(self, name: str) -> str:
        """Path of a file."""
        return str(self.path / name)


def _raise(error: OSError) -> None:
    raise error


class ArchiveFiles:
    """A video as an archive.

    Raises:
        ValueError: on first use, if the archive is damaged or cut short.
    """

    def __init__(self, path: Path):
        self.path, self.name = path, path.name.removesuffix(ARCHIVE_SUFFIX)

    def sizes(self) -> dict[str, int]:
        """Bytes of every file by its name in the archive."""
        with self._archive() as archive:
            return {info.filename: info.file_size for info in sorted(archive.infolist(), key=_filename)}

    def checksums(self, names: Sequence[str]) -> tuple[int, ...]:
        """CRC-32 of the contents of files, which the archive's directory holds."""
        with self._archive() as archive:
            return tuple(archive.getinfo(name).CRC for name in names)

    @contextlib.contextmanager
    def opened(self) -> Iterator[Reader]:
        """The files, to be read; their checksums are verified."""
        with self._archive() as archive:

            def read(name: str) -> bytes:
                try:
                    return archive.read(name)
                except KeyError:
                    raise FileNotFoundError(f"{self.where(name)} is missing") from None
                # What is altered in the directory may ask for passwords or compression that do not exist.
                except (zipfile.BadZipFile, EOFError, RuntimeError, zlib.error) as error:
                    raise ValueError(f"{self.where(name)} is damaged ({error}); {_AGAIN}") from error

            yield read

    def check(self) -> None:
        """Reads every file, one at a time.

        Raises:
            ValueError: one is damaged.
        """
        with self.opened() as read:
            for name in self.sizes():
                read(name)

    def where(self, name: str) -> str:
        """Path of the archive and name of the file in it."""
        return f"{self.path}:{name}"

    def _archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise ValueError(f"{self.path} is not a complete archive ({error}); {_AGAIN}") from error


_AGAIN = "delete it and align this video again"


def _filename(info: zipfile.ZipInfo) -> str:
    return info.filename


def find(root: Path) -> list[VideoFiles]:
    """The videos below a folder, by name: its folders and archives that are not hidden.

    Raises:
        ValueError: a video is there as both.
    """
    found: dict[str, VideoFiles] = {}
    for path in sorted(root.iterdir()):
        if path.name.startswith("."):
            continue
        files: VideoFiles
        if path.is_dir():
            files = FolderFiles(path)
        elif path.suffix == ARCHIVE_SUFFIX:
            files = ArchiveFiles(path)
        else:
            continue
        if files.name in found:
            raise ValueError(f"{path} and {found[files.name].path} are the same video; delete one")
        found[files.name] = files
    return [found[name] for name in sorted(found)]


def write_archive(path: Path, files: Iterable[tuple[str, bytes]]) -> None:
    """Writes an archive atomically; what an exception interrupts leaves nothing.

    Args:
        path: of the archive; its folder must be there.
        files: names and contents, taken one at a time.

    Raises:
        OSError: the disk is full, or cannot be written to.
    """
    temporary = temporaries.beside(path)
    try:
        with temporary.open("xb") as file:
            _write(file, files)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{path} could not be written ({error.strerror}), and nothing was left there; "
            "free some space or write elsewhere. What was finished before is kept",
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _write(file: IO[bytes], files: Iterable[tuple[str, bytes]]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files:
            info = zipfile.ZipInfo(name, _DATE)
            # The same on every system.
            info.create_system, info.external_attr = 3, 0o644 << 16
            archive.writestr(info, content)
