"""`/v1/jobs`: for recordings longer than a gateway waits. Transcripts are kept whole, and rendered when read."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from starlette.requests import Request as HttpRequest

from turnscribe.aliases import ALIASES, SHOWN_CHARACTERS
from turnscribe.answer import to_answer
from turnscribe.diarization.renaming import named_as
from turnscribe.errors import BadAudio, BadParameters
from turnscribe.formats import find_format
from turnscribe.inputs.fetch import check_url
from turnscribe.listener import Listener
from turnscribe.parameters import PARAMETERS
from turnscribe.serving import documents
from turnscribe.serving.bodies import Body, media_type_of, parameters_of, read_body, read_form
from turnscribe.serving.jobs.runner import JobRunner
from turnscribe.serving.jobs.store import Job, JobStore, TooManyJobs
from turnscribe.serving.jobs.webhooks import Post, Webhooks
from turnscribe.serving.problems import Busy, InternalError, Malformed, NotFound, NotReady
from turnscribe.serving.service import Service
from turnscribe.serving.transcript_file import as_file
from turnscribe.transcript import Transcript
from turnscribe.transcript_json import from_json, to_json

LONGEST_URL = 4000  # characters
MOST_UNKNOWN = 20  # parameters whose names are kept
KNOWN = PARAMETERS | ALIASES.keys()
PARAMETERS_OF_THE_ANSWER = ("timestamps", "return_timestamps", "response_format")


def create_job_runner(service: Service, store: JobStore, *, post: Post) -> JobRunner:
    """What sends the jobs of `store` through the service's pipeline, and their webhooks by `post`."""
    settings = service.settings

    def transcribe(job: Job, listener: Listener) -> str:
        audio = service.fetch(job.url) if job.url else store.upload(job.id).read_bytes()
        transcript = service.transcribe(audio, service.parse(job.parameters), listener)
        return to_json(named_as(transcript, job.told)).decode()

    service.metrics.gauge("jobs_running", "Jobs on the models.", lambda: store.count("running"))
    service.metrics.gauge("jobs_waiting", "Jobs in the queue.", lambda: store.count("queued"))
    secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else None
    webhooks = Webhooks(store, secret=secret, post=post)
    return JobRunner(store, transcribe, running=settings.max_concurrent_jobs, webhooks=webhooks)


def add_job_routes(app: FastAPI, service: Service, store: JobStore, runner: JobRunner) -> None:
    routes = JobRoutes(service, store, runner)
    app.post("/v1/jobs", status_code=202, openapi_extra=documents.JOB)(routes.add_job)
    app.get("/v1/jobs/{id}")(routes.get_job)
    app.get("/v1/jobs/{id}/result", openapi_extra=documents.RESULT)(routes.get_result)
    app.delete("/v1/jobs/{id}", status_code=204)(routes.delete_job)


class JobRoutes:
    """One method a route; their docstrings are what /docs says."""

    def __init__(self, service: Service, store: JobStore, runner: JobRunner) -> None:
        self.service, self.store, self.runner = service, store, runner

    async def add_job(self, http_request: HttpRequest) -> Response:
        """Accept a recording (a form with a `file`) or the URL of one (JSON), for as long as it takes."""
        read = read_body if media_type_of(http_request) == "application/json" else read_form
        with self.service.room_for_body(in_queue=False):
            body = await read(http_request, self.service.settings.spool_bytes)
        try:
            order = JobOrder.read(body, self.service.pipeline.limits.url_ports)
            self._check(order, body)
            job = await asyncio.to_thread(self._accept, order, body)
        finally:
            body.release()
        await asyncio.to_thread(self.runner.wake)
        return JSONResponse(job, status_code=202, headers={"Location": f"/v1/jobs/{job['id']}"})

    def get_job(self, id: str) -> Response:
        """How far a job is; its result when it is done."""
        job = self._find(id)
        result = {"result": self._answer(job)} if job.status == "done" else {}
        return JSONResponse({**self._describe(job), **result})

    def get_result(self, http_request: HttpRequest, id: str) -> Response:
        """A finished job's transcript in one of the formats, as a file; without one, the endpoint's answer."""
        job, format_name = self._find(id), http_request.query_params.get("response_format", "")
        if not format_name:
            return JSONResponse(self._answer(job))
        return as_file(self._transcript(job), find_format(format_name), Path(job.name).stem.strip() or "transcript")

    def delete_job(self, id: str) -> Response:
        """Stop a job where it runs, and forget it, its recording and its result."""
        self._find(id)
        self.runner.delete(id)
        return Response(status_code=204)

    def _check(self, order: JobOrder, body: Body) -> None:
        """What is wrong is said now, not when the job's turn comes."""
        pipeline = self.service.pipeline
        if (body.file is None) == (order.url is None):
            raise Malformed("A job is one recording: send a form with a file, or JSON with parameters.url.")
        if order.url is not None and not pipeline.settings.allow_url_inputs:
            raise BadParameters("URLs are not fetched here: send the recording as a form's file.")
        if self.service.parse(order.parameters).diarize and not pipeline.has_diarizer:
            raise BadParameters("diarize is true and no diarizer is loaded: leave it out.")

    def _accept(self, order: JobOrder, body: Body) -> dict[str, Any]:
        try:
            job = self.store.add(
                body.file,
                name=body.name,
                url=order.url,
                parameters=kept_parameters(order.parameters),
                webhook=order.webhook,
                most_queued=self.service.settings.max_queued_jobs,
            )
        except TooManyJobs:
            raise Busy("Too many jobs are waiting: try again later.", retry_after_s=60) from None
        return self._describe(job)

    def _find(self, id: str) -> Job:
        job = self.store.get(id)
        if job is None:
            raise NotFound("There is no such job: it never was, was deleted, or has expired.")
        return job

    def _transcript(self, job: Job) -> Transcript:
        stored = self.store.transcript(job.id)
        if stored is None:
            raise NotReady(f"The job is {job.status} and has no result.")
        try:
            return from_json(stored)
        except ValueError:
            raise InternalError("The result was kept by another version of the server and cannot be read.") from None

    def _answer(self, job: Job) -> dict[str, Any]:
        given = {name: job.parameters[name] for name in PARAMETERS_OF_THE_ANSWER if name in job.parameters}
        request = self.service.parse(given)
        return to_answer(self._transcript(job), request)

    def _describe(self, job: Job) -> dict[str, Any]:
        """All there is to say of a job but its result."""
        description: dict[str, Any] = {
            "id": job.id,
            "object": "transcription.job",
            "filename": job.name or None,
            "status": job.status,
            "progress": round(self.runner.progress_of(job), 4),
            "created_at": job.created_at,
            "started_at": job.started_at,
            "ended_at": job.ended_at,
            "expires_at": self.store.expires_at(job),
            "error": job.error,
        }
        if job.status == "running":
            description["stage"] = self.runner.stage_of(job)
        if job.status == "queued":
            description["position"] = self.store.count_before(job)
        if job.webhook:
            description["webhook"] = {"state": job.webhook_state, "tries": job.webhook_tries}
        return description


@dataclass(frozen=True)
class JobOrder:
    """What a new job is to do: the pipeline's parameters, and those that are the server's own."""

    parameters: Mapping[str, Any]
    url: str | None
    webhook: str | None

    @staticmethod
    def read(body: Body, ports: Collection[int]) -> JobOrder:
        """Raises `BadParameters` for what is no https URL at one of `ports`, and `Malformed`."""
        parameters = parameters_of(body.fields)
        webhook = _checked_url(parameters.pop("webhook", None), "webhook", ports)
        url = _checked_url(parameters.pop("url", None), "url", ports)
        return JobOrder(parameters, url, webhook)


def kept_parameters(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a job needs of its parameters: those that are known, and of the others some names to warn of.

    >>> kept_parameters({"language": "de", "colour": "x" * 1_000_000})
    {'language': 'de', 'colour': True}
    """
    known = {name: value for name, value in parameters.items() if name.partition("[")[0] in KNOWN}
    others = [name[:SHOWN_CHARACTERS] for name in parameters if name not in known]
    return known | dict.fromkeys(others[:MOST_UNKNOWN], True)


def _checked_url(url: object, name: str, ports: Collection[int]) -> str | None:
    if url is None:
        return None
    if not isinstance(url, str) or len(url) > LONGEST_URL:
        raise BadParameters(f"{name} is not a URL: send an https URL of at most {LONGEST_URL} characters.")
    try:
        check_url(url, ports)
    except BadAudio as error:
        raise BadParameters(f"{name} cannot be used. {error}") from error
    return url
