"""Where reports go: whole files or none, pictures inside the text or beside it."""

from __future__ import annotations

import contextlib
from base64 import b64encode
from collections.abc import Generator, Iterable, Mapping
from pathlib import Path
from urllib.parse import quote

from corelens.errors import OutputExists, OutputFailed

IMAGES = ("inline", "files", "none")
_MEDIA = {"svg": "image/svg+xml", "png": "image/png"}

Pictures = Mapping[str, tuple[str, bytes]]
"""Kind of picture to its file ending and its bytes."""


def refuse_existing(output: Path, *, with_images: bool, force: bool) -> None:
    """Raise OutputExists where writing would replace a file or a folder of pictures."""
    refuse_any_of((output, *([images_folder(output)] if with_images else [])), force=force)


def refuse_any_of(paths: Iterable[Path], *, force: bool) -> None:
    """Raise OutputExists for the first that is there, unless told to replace it."""
    existing = next((path for path in paths if path.exists()), None)
    if existing is not None and not force:
        raise OutputExists(existing)


def write_whole(path: Path, data: bytes) -> None:
    """Write the whole file, or raise OutputFailed and leave what was there."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    with _refused(path):
        try:
            unfinished.write_bytes(data)
            unfinished.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise


def picture_links(pictures: Pictures, output: Path | None) -> dict[str, str]:
    """Give the address of each picture: files in a folder beside `output`, or data URIs without one."""
    if output is None:
        return {kind: _data_uri(ending, data) for kind, (ending, data) in pictures.items()}
    folder = images_folder(output)
    with _refused(folder):
        folder.mkdir(exist_ok=True)
    for kind, (ending, data) in pictures.items():
        write_whole(folder / f"{kind}.{ending}", data)
    return {kind: f"{quote(folder.name)}/{kind}.{ending}" for kind, (ending, _) in pictures.items()}


def images_folder(output: Path) -> Path:
    """Name the folder that holds the pictures of a report."""
    return output.with_name(f"{output.stem}-images")


def _data_uri(ending: str, data: bytes) -> str:
    return f"data:{_MEDIA[ending]};base64,{b64encode(data).decode()}"


@contextlib.contextmanager
def _refused(path: Path) -> Generator[None]:
    try:
        yield
    except OSError as error:
        raise OutputFailed(
            f"cannot write {path}: {error.strerror}", "choose another place with -o OUT"
        ) from error
