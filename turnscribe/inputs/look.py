"""A file on the disk, looked at before all of it is read: can anything be heard in it?

Opens the container and decodes nothing. `probe` measures what is read.
"""

from __future__ import annotations

from pathlib import Path, PurePath
from shlex import quote
from typing import TYPE_CHECKING

from turnscribe.errors import BadAudio
from turnscribe.inputs.probe import ACCEPTED, CODECS, CONTAINERS, MP4_CONTAINERS, open_container
from turnscribe.inputs.suffixes import is_recording

if TYPE_CHECKING:
    from av.container import InputContainer

OTHERS = frozenset(
    "3g2 3gp ac3 ape asf caf dsf dts eac3 mka mpc ra rm spx tta w64 wv".split()
)  # audio, by the suffix


def check_container(path: Path) -> None:
    """Raises `BadAudio` where the file is none that `decode_audio` takes, or has no audio, and `OSError`."""
    import av

    try:
        with _opened(path) as container:
            tracks = [track.codec_context for track in container.streams.audio]
            codecs = [None if context is None else context.codec.name for context in tracks]
    except (av.error.FFmpegError, ValueError) as error:
        raise BadAudio(_unreadable(path)) from error
    if not codecs:
        raise BadAudio("The file has no audio track; send one that has.")
    if not set(codecs) & set(CODECS.split(",")):
        raise BadAudio(f"The codec of its audio is not read here: {conversion(path.name)}.")


def conversion(name: str) -> str:
    """The command that makes a file of this name one that is read.

    >>> conversion("talk.wma")
    'make it a wav with `ffmpeg -i talk.wma talk.wav`'
    """
    made = PurePath(name).with_suffix(".wav").name
    if made == name:
        made = f"converted-{name}"
    return f"make it a wav with `ffmpeg -i {quote(name)} {quote(made)}`"


def _opened(path: Path) -> InputContainer:
    """As `open_container` of the bytes, which is asked where this fails: it mends some headers."""
    import av

    options = {
        "protocol_whitelist": "file",
        "format_whitelist": f"{CONTAINERS},{MP4_CONTAINERS}",
        "codec_whitelist": CODECS,
    }
    try:
        return av.open(f"file:{path}", "r", options=options, metadata_errors="ignore")
    except (av.error.FFmpegError, ValueError):
        return open_container(path.read_bytes())


def _unreadable(path: Path) -> str:
    if not path.stat().st_size:
        return "The file is empty."
    suffix = path.suffix.lower().removeprefix(".")
    if suffix in OTHERS or is_recording(path.name):
        return f"This {suffix} file is damaged, or of a format that is not read here: {conversion(path.name)}."
    return f"The file is not audio that can be read: name a {ACCEPTED} file."
