"""A transcript as the file that a browser saves."""

from __future__ import annotations

from urllib.parse import quote

from fastapi.responses import JSONResponse, Response

from turnscribe.formats import Format, RenderOptions
from turnscribe.serving.warning_header import warning_headers
from turnscribe.subtitle_limits import USUAL_LIMITS, SubtitleLimits
from turnscribe.transcript import Transcript


def as_file(
    transcript: Transcript, format: Format, name: str, *, subtitles: SubtitleLimits = USUAL_LIMITS
) -> Response:
    """A file to keep, called as the recording was."""
    rendered = format.render(transcript, RenderOptions(recording=name, subtitles=subtitles))
    if not isinstance(rendered, str | bytes):
        return JSONResponse(rendered)
    headers = {**file_name_headers(name, format), **warning_headers(transcript.warnings)}
    return Response(rendered, media_type=format.media_type, headers=headers)


def file_name_headers(name: str, format: Format) -> dict[str, str]:
    """What a file is called: https://www.rfc-editor.org/rfc/rfc6266"""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(f'{name}.{format.suffix}', safe='')}"}
