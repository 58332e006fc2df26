"""`/ui` and its files, `/health` and `/metrics`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TypedDict

from fastapi import FastAPI
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response

from turnscribe.formats import FORMATS
from turnscribe.serving.problems import NotFound
from turnscribe.serving.service import Service

PAGE = Path(__file__).resolve().parents[1] / "page"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; media-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


class OfferedFormat(TypedDict):
    """A format as the page's download buttons need to know it."""

    name: str
    suffix: str
    media_type: str
    needs_speakers: bool
    is_binary: bool


def offered_formats() -> list[OfferedFormat]:
    """The registry's formats that can be rendered here, in its order."""
    return [
        {
            "name": format.name,
            "suffix": format.suffix,
            "media_type": format.media_type,
            "needs_speakers": format.needs_speakers,
            "is_binary": format.is_binary,
        }
        for format in FORMATS.values()
        if format.is_available
    ]


def add_page_routes(app: FastAPI, service: Service) -> None:
    names = {file.relative_to(PAGE).as_posix() for file in PAGE.rglob("*") if file.is_file()}

    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> Response:
        """200 once the models are loaded and warm, until then 503; how the engine runs, and devices with a process of
        their own."""
        states = [asdict(state) for state in service.loader.device_states]
        devices = {"devices": states} if states else {}
        if not service.is_ready:
            return JSONResponse({"status": "loading", **devices}, status_code=503, headers={"Retry-After": "5"})
        running = service.pipeline.running
        engine = {} if running is None else {"engine": asdict(running)}
        return JSONResponse({"status": "ok", **engine, **devices})

    @app.get("/metrics")
    def metrics() -> Response:
        """Prometheus' text format."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", include_in_schema=False)
    async def front() -> Response:
        return RedirectResponse("ui")

    @app.get("/ui/", include_in_schema=False)
    async def without_slash() -> Response:
        return RedirectResponse("../ui")  # the page's links are relative, so that a proxy may put it elsewhere

    @app.get("/ui/formats.json", include_in_schema=False)
    async def formats() -> Response:
        return JSONResponse(offered_formats(), headers=HEADERS)

    @app.get("/ui", include_in_schema=False)
    @app.get("/ui/{name:path}", include_in_schema=False)
    async def page(name: str = "index.html") -> Response:
        if name not in names:
            raise NotFound("There is no such file.")
        return FileResponse(PAGE / name, headers=HEADERS)
