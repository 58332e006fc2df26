"""`/v1/jobs`: for recordings longer than a gateway waits. Transcripts are kept whole, and rendered when read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from pydantic import TypeAdapter, ValidationError

from turnscribe.answer import to_answer
from turnscribe.errors import BadAudio, BadParameters
from turnscribe.formats import FORMATS, render
from turnscribe.inputs.fetch import check_url
from turnscribe.serving import documents
from turnscribe.serving.bodies import media_type, parameters, read_body, read_form
from turnscribe.serving.jobs.runner import JobRunner
from turnscribe.serving.jobs.store import Job, JobStore, NoRoom
from turnscribe.serving.openai import MEDIA_TYPES
from turnscribe.serving.problems import Busy, Failed, Malformed, NotFound, NotReady
from turnscribe.serving.service import Service
from turnscribe.stages import Progress, ShouldStop
from turnscribe.transcript import Transcript

STORED = TypeAdapter(Transcript)
LONGEST_URL = 4000


def job_runner(service: Service, store: JobStore) -> JobRunner:
    """What works through the jobs of `store`."""
    settings = service.settings

    def work(job: Job, on_progress: Progress, should_stop: ShouldStop) -> str:
        audio = service.fetched(job.url) if job.url else store.upload(job.id).read_bytes()
        config = service.parse(job.parameters)
        transcript = service.transcribed(audio, config, on_progress=on_progress, should_stop=should_stop)
        return STORED.dump_json(transcript).decode()

    service.metrics.gauge("jobs_running", "Jobs on the models.", lambda: store.count("running"))
    service.metrics.gauge("jobs_waiting", "Jobs in the queue.", lambda: store.count("queued"))
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None
    return JobRunner(store, work, running=settings.max_concurrent_jobs, secret=secret)


def add_job_routes(app: FastAPI, service: Service, store: JobStore, runner: JobRunner) -> None:
    def found(id: str) -> Job:
        job = store.get(id)
        if job is None:
            raise NotFound("There is no such job: it never was, was deleted, or has expired.")
        return job

    def transcript(job: Job) -> Transcript:
        stored = store.transcript(job.id)
        if stored is None:
            raise NotReady(f"The job is {job.status} and has no result.")
        try:
            return STORED.validate_json(stored)
        except ValidationError:
            raise Failed("The result was kept by another version of the server and cannot be read.") from None

    def answer(job: Job) -> dict[str, Any]:
        shown = ("timestamps", "return_timestamps", "response_format")
        config = service.parse({name: job.parameters[name] for name in shown if name in job.parameters})
        words = config.timestamps == "word"
        return to_answer(transcript(job), words=words, response_format=config.response_format)

    @app.post("/v1/jobs", status_code=202, openapi_extra=documents.JOB)
    async def add_job(request: Request) -> Response:
        """Accept a recording (a form with a `file`) or the URL of one (JSON), for as long as it takes."""
        service.ready  # noqa: B018 - before the body is read
        form = media_type(request.headers.get("content-type", "")) != "application/json"
        body = await (read_form if form else read_body)(request, service.settings.spool_bytes)
        try:
            fields = parameters(body.fields)
            webhook, url = fields.pop("webhook", None), fields.pop("url", None)
            if webhook is not None:
                _check_url(webhook, "webhook")
            if url is not None:
                _check_url(url, "url")
            if (body.file is None) == (url is None):
                raise Malformed("A job is one recording: send a form with a file, or JSON with parameters.url.")
            if url is not None and not service.ready.settings.allow_url_inputs:
                raise BadParameters("URLs are not fetched here: send the recording as a form's file.")
            config = service.parse(fields)  # what is wrong is said now, not when its turn comes
            if config.diarize and service.ready.diarizer is None:
                raise BadParameters("diarize is true and no diarizer is loaded: leave it out.")

            def accept() -> dict[str, Any]:
                job = store.add(
                    body.file,
                    name=body.name,
                    url=url,
                    parameters=fields,
                    webhook=webhook,
                    most_queued=service.settings.max_queued_jobs,
                )
                return runner.said(job)

            try:
                said = await asyncio.to_thread(accept)
            except NoRoom:
                raise Busy("Too many jobs are waiting: try again later.", retry_after_s=60) from None
        finally:
            body.release()
        runner.wake()
        return JSONResponse(said, status_code=202, headers={"Location": f"/v1/jobs/{said['id']}"})

    @app.get("/v1/jobs/{id}")
    def get_job(id: str) -> Response:
        """How far a job is; its result when it is done."""
        job = found(id)
        result = {"result": answer(job)} if job.status == "done" else {}
        return JSONResponse({**runner.said(job), **result})

    @app.get("/v1/jobs/{id}/result", openapi_extra=documents.RESULT)
    def get_result(request: Request, id: str) -> Response:
        """A finished job's transcript in one of the formats, as a file; without one, the handler's answer."""
        job, wanted = found(id), request.query_params.get("response_format", "")
        if not wanted:
            return JSONResponse(answer(job))
        if wanted not in FORMATS:
            raise BadParameters(f"response_format is {wanted[:40]!r}: give one of {', '.join(FORMATS)}.")
        name = Path(job.name).stem.strip() or "transcript"
        made = render(transcript(job), wanted, name=name)
        if not isinstance(made, str):
            return JSONResponse(made)
        ending = "txt" if wanted == "text" else wanted
        return Response(made, media_type=MEDIA_TYPES[wanted], headers=_as_file(f"{name}.{ending}"))

    @app.delete("/v1/jobs/{id}", status_code=204)
    def delete_job(id: str) -> Response:
        """Stop a job where it runs, and forget it, its recording and its result."""
        found(id)
        runner.drop(id)
        return Response(status_code=204)


def _check_url(url: object, name: str) -> None:
    if not isinstance(url, str) or len(url) > LONGEST_URL:
        raise BadParameters(f"{name} is not a URL: send an https URL of at most {LONGEST_URL} characters.")
    try:
        check_url(url)
    except BadAudio as error:
        raise BadParameters(f"{name} cannot be used. {error}") from error


def _as_file(name: str) -> dict[str, str]:
    """https://www.rfc-editor.org/rfc/rfc6266"""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
