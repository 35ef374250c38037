"""Cameras as recordings that end when somebody says so."""

import dataclasses
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from mdhr_jax.faces import media, video_file
from mdhr_jax.faces.detector import Frame
from mdhr_jax.faces.picture import Picture

_LINUX, _MAC = "video4linux2", "avfoundation"
_DEVICE = "/dev/video"


@dataclasses.dataclass(frozen=True)
class Camera(media.Recording):
    """A camera of this machine, by PyAV.

    Attributes:
        device: as the system calls it.
        driver: FFmpeg's name of what reads it.
    """

    device: str = ""
    driver: str = ""

    @property
    def is_video(self) -> bool:
        """Whether it is a moving picture."""
        return True

    def length(self) -> int:
        """Number of frames: nobody knows."""
        return 0

    def check(self) -> None:
        """Makes sure that there is such a camera, as far as that is seen from outside.

        Raises:
            ValueError: there is none.
        """
        if self.driver == _LINUX and not os.path.exists(self.device):
            others = sorted(str(path) for path in Path(_DEVICE).parent.glob(f"{Path(_DEVICE).name}*"))
            found = f"found {', '.join(others)}" if others else "this machine has none"
            raise ValueError(f"there is no camera {self.device}; {found}")

    def timed_frames(self) -> Iterator[tuple[float | None, Frame]]:
        """Its frames from now on, and when they were taken: seconds from the first.

        Raises:
            ValueError: it cannot be read, or not any more.
            ImportError: PyAV is missing.
        """
        self.check()
        av = video_file.require_av()
        options = {"framerate": "30"} if self.driver == _MAC else {}
        start: float | None = None
        try:
            with av.open(self.device, format=self.driver, options=options) as container:
                for frame in container.decode(video=0):
                    picture = Picture(frame)
                    now: float = time.monotonic() if picture.time is None else picture.time
                    start = now if start is None else start
                    yield now - start, picture.whole()
        except (av.error.FFmpegError, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ValueError(f"camera {self.device} cannot be read ({reason})") from error


def named(argument: str) -> Camera | None:
    """The camera that an argument of a command names; None where it names none.

    That is a number; on Linux also ``/dev/video<number>``.

    Args:
        argument: of the command; files go first, a file that is called ``0`` is that file.
    """
    number = argument.removeprefix(_DEVICE)
    if not number.isdecimal() or (number == argument and os.path.exists(argument)):
        return None
    name = f"camera{int(number)}"
    if sys.platform == "darwin":
        return Camera(name, (), f"{int(number)}:none", _MAC) if number == argument else None
    return Camera(name, (), f"{_DEVICE}{int(number)}", _LINUX)
