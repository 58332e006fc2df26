"""A transcript as the file that a browser saves."""

from __future__ import annotations

from urllib.parse import quote

from fastapi.responses import JSONResponse, Response

from turnscribe.formats import Format, RenderOptions
from turnscribe.serving.warning_header import warning_headers
from turnscribe.transcript import Transcript


def as_file(transcript: Transcript, format: Format, name: str) -> Response:
    """A file to keep, called as the recording was: https://www.rfc-editor.org/rfc/rfc6266"""
    rendered = format.render(transcript, RenderOptions(recording=name))
    if not isinstance(rendered, str | bytes):
        return JSONResponse(rendered)
    disposition = f"attachment; filename*=UTF-8''{quote(f'{name}.{format.suffix}', safe='')}"
    headers = {"Content-Disposition": disposition, **warning_headers(transcript.warnings)}
    return Response(rendered, media_type=format.media_type, headers=headers)
