"""Jobs that survive a restart: a SQLite database and a folder of uploads.

A job is accepted once its upload and its row are on the disk. One that was running when the server ended is queued
again, unless the server ended three times over it. One process at a time has a folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import IO, Any, Literal, TypeAlias

from filelock import FileLock, Timeout

from turnscribe.errors import SettingsError
from turnscribe.files import whole
from turnscribe.serving.caller import NOBODY, Caller
from turnscribe.transcript import Turn

Status: TypeAlias = Literal["queued", "running", "done", "failed"]
MOST_ATTEMPTS = 3
INCREMENTAL = 2  # SQLite's number for giving space back bit by bit
LARGEST_JOURNAL = 2**24  # bytes
LOOKED_AT = 1000  # webhooks that are due, at a time, for one that may be sent now
FREED_AT_ONCE = 2000  # pages of 4 KiB
WEBHOOK_DELAYS = (0, 5, 30, 120, 600, 3600)  # seconds before each try
WEBHOOK_CLAIM_S = 60  # after which a try whose outcome is not written died with its server

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    name TEXT NOT NULL,          -- of the upload, as the client calls it
    url TEXT,                    -- where the recording is, when it was not uploaded
    parameters TEXT NOT NULL,    -- JSON
    created_at REAL NOT NULL,    -- times are seconds since 1970
    started_at REAL,
    ended_at REAL,
    attempts INTEGER NOT NULL DEFAULT 0,
    transcript TEXT,             -- JSON
    error TEXT,                  -- JSON
    webhook TEXT,
    webhook_tries INTEGER NOT NULL DEFAULT 0,
    webhook_at REAL,             -- when to try next
    webhook_told INTEGER NOT NULL DEFAULT 0,
    told TEXT,                   -- JSON: speaker, start and end of each turn that was told of live
    caller_key TEXT,             -- the label of the API key that it came with
    traceparent TEXT             -- W3C's, of the request that it came in
);
CREATE INDEX IF NOT EXISTS jobs_by_status ON jobs (status, created_at);
CREATE INDEX IF NOT EXISTS jobs_by_end ON jobs (ended_at);
CREATE INDEX IF NOT EXISTS jobs_by_webhook ON jobs (webhook_at);
"""


@dataclass(frozen=True)
class Job:
    """One row of the table, without its transcript."""

    id: str
    status: Status
    name: str
    url: str | None
    parameters: dict[str, Any]
    created_at: float
    started_at: float | None
    ended_at: float | None
    attempts: int
    error: dict[str, Any] | None
    webhook: str | None
    webhook_tries: int
    webhook_at: float | None
    webhook_told: int
    told: tuple[Turn, ...] = ()
    caller_key: str | None = None
    traceparent: str | None = None

    @property
    def caller(self) -> Caller:
        """Who brought it."""
        return Caller(self.caller_key, self.traceparent)

    @property
    def webhook_state(self) -> str:
        """`pending`, `told` or `given up`."""
        waiting = self.ended_at is None or self.webhook_at is not None
        return "told" if self.webhook_told else "pending" if waiting else "given up"


ADDED = ("told", "caller_key", "traceparent")  # that an earlier version's database lacks
COLUMNS = ", ".join(Job.__dataclass_fields__)


class TooManyJobs(Exception):
    """As many jobs wait as may."""


class JobStore:
    """The jobs of one folder, at the time `clock` says. Raises `SettingsError` where the folder cannot be used."""

    def __init__(self, folder: Path, *, retention_s: float, clock: Callable[[], float] = time.time) -> None:
        self.folder, self.retention_s, self.clock = folder, retention_s, clock
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._owner = FileLock(folder / "owner", thread_local=False)
            self._owner.acquire(timeout=0)
        except Timeout as error:
            raise SettingsError("JOBS_FOLDER is another server's: give every server its own.") from error
        except OSError as error:
            raise SettingsError(f"JOBS_FOLDER cannot be written to ({error}): name another folder.") from error
        self._lock, self._closed = threading.RLock(), False
        try:
            self._db = _open_database(folder / "jobs.sqlite3")
            self._resume()
        except sqlite3.Error as error:
            self._owner.release()
            raise SettingsError(f"JOBS_FOLDER's database cannot be used ({error}): name another folder.") from error

    def close(self) -> None:
        with self._lock:
            self._closed = True
            self._db.close()
            self._owner.release()

    def add(
        self,
        file: IO[bytes] | None,
        *,
        name: str,
        url: str | None,
        parameters: Mapping[str, Any],
        webhook: str | None,
        most_queued: int | None = None,
        told: Sequence[Turn] = (),
        caller: Caller = NOBODY,
    ) -> Job:
        """Accept a job; when this returns, it is on the disk. Raises `TooManyJobs` where `most_queued` wait.

        `told` is who speaks when, by the names that the transcript is to have, where somebody was told of it already.
        """
        id = f"job_{secrets.token_urlsafe(18)}"
        row = {
            "id": id,
            "status": "queued",
            "name": name[:200],
            "url": url,
            "parameters": json.dumps(dict(parameters)),
            "created_at": self.clock(),
            "webhook": webhook,
            "told": json.dumps([[turn.speaker, turn.start, turn.end] for turn in told]) if told else None,
            "caller_key": caller.key,
            "traceparent": caller.traceparent,
        }
        columns, places = ", ".join(row), ", ".join("?" * len(row))
        try:
            if file is not None:
                self._write_upload(file, id)
            with self._lock:
                if most_queued is not None and self.count("queued") >= most_queued:
                    raise TooManyJobs
                self._db.execute(f"INSERT INTO jobs ({columns}) VALUES ({places})", tuple(row.values()))
                job = self.get(id)
        except BaseException:
            self.upload(id).unlink(missing_ok=True)
            raise
        assert job is not None
        return job

    def get(self, id: str) -> Job | None:
        rows = self._rows("WHERE id = ?", id)
        return rows[0] if rows else None

    def transcript(self, id: str) -> str | None:
        """Its JSON, once the job is done."""
        with self._lock:
            row = self._db.execute("SELECT transcript FROM jobs WHERE id = ?", (id,)).fetchone()
        return row["transcript"] if row else None

    def upload(self, id: str) -> Path:
        """Where its recording lies until the job has ended."""
        return self.folder / f"{id}.upload"

    def count(self, status: Status) -> int:
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM jobs WHERE status = ?", (status,)).fetchone()[0])

    def count_before(self, job: Job) -> int:
        """How many are queued before it."""
        with self._lock:
            query = "SELECT count(*) FROM jobs WHERE status = 'queued' AND created_at < ?"
            return int(self._db.execute(query, (job.created_at,)).fetchone()[0])

    def claim(self) -> Job | None:
        """The oldest queued job, running from now on."""
        with self._lock:
            rows = self._rows("WHERE status = 'queued' ORDER BY created_at LIMIT 1")
            if not rows:
                return None
            attempts = rows[0].attempts + 1
            self._update(rows[0].id, {"status": "running", "started_at": self.clock(), "attempts": attempts})
            return self.get(rows[0].id)

    def give_back(self) -> None:
        """Queue all running jobs again, as if they had not been claimed: the server is about to end."""
        with self._lock:
            change = "SET status = 'queued', started_at = NULL, attempts = attempts - 1"
            self._db.execute(f"UPDATE jobs {change} WHERE status = 'running'")

    def end(self, id: str, *, transcript: str | None = None, error: dict[str, Any] | None = None) -> None:
        """The job is done, or failed where there is an `error`; nothing where it was deleted meanwhile."""
        with self._lock:
            job = None if self._closed else self.get(id)  # the next server has it, where this one is closed
            if job is None:
                return
            outcome = {
                "status": "failed" if error else "done",
                "ended_at": self.clock(),
                "transcript": transcript,
                "error": json.dumps(error) if error else None,
                "webhook_at": self.clock() if job.webhook else None,
            }
            self._update(id, outcome)
        self.upload(id).unlink(missing_ok=True)

    def delete(self, id: str) -> bool:
        """Forget a job, its recording and its result; false where there is none."""
        existed = self._forget(id)
        self._give_back_space()
        return existed

    def _forget(self, id: str) -> bool:
        with self._lock:
            existed = self._db.execute("DELETE FROM jobs WHERE id = ?", (id,)).rowcount > 0
        self.upload(id).unlink(missing_ok=True)
        return existed

    def _give_back_space(self) -> None:
        """To the system, bit by bit: others want the database too. On a disk that is full it cannot be done."""
        free, before = 0, -1
        with contextlib.suppress(sqlite3.Error):
            while free != before:
                with self._lock:
                    if self._closed:
                        return
                    before, free = free, self._db.execute("PRAGMA freelist_count").fetchone()[0]
                    if free:  # `execute` would free one page and stop
                        self._db.executescript(f"PRAGMA incremental_vacuum({FREED_AT_ONCE})")

    def expires_at(self, job: Job) -> float | None:
        return None if job.ended_at is None else job.ended_at + self.retention_s

    def expire(self) -> int:
        """Forget jobs that ended long enough ago; how many."""
        old = self._rows("WHERE ended_at < ?", self.clock() - self.retention_s)
        for job in old:
            self._forget(job.id)
        if old:
            self._give_back_space()
        return len(old)

    # Webhooks ---------------------------------------------------------------------------------------

    def claim_webhook(self, rank: Callable[[Job], int | None] = lambda job: 0) -> Job | None:
        """The job whose webhook is due first among those of the lowest rank; for a while nobody else gets it.

        A job whose rank is `None` is left for later.
        """
        with self._lock:
            ranked: list[tuple[int, Job]] = []
            for offset in count(0, LOOKED_AT):
                page = f"WHERE webhook_at <= ? ORDER BY webhook_at LIMIT {LOOKED_AT} OFFSET {offset}"
                due = self._rows(page, self.clock())
                ranked = [(place, job) for job in due if (place := rank(job)) is not None]
                if ranked or not due:
                    break
            if not ranked:
                return None
            job = min(ranked, key=lambda pair: pair[0])[1]
            self._update(job.id, {"webhook_at": self.clock() + WEBHOOK_CLAIM_S})
            return job

    def note_webhook_try(self, job: Job, *, delivered: bool) -> None:
        """Note one try; the next one is due later, unless it was delivered or the tries are used up."""
        if self._closed:  # the next server sends it again
            return
        tries = job.webhook_tries + 1
        over = delivered or tries >= len(WEBHOOK_DELAYS)
        due = None if over else self.clock() + WEBHOOK_DELAYS[tries]
        with self._lock:
            self._update(job.id, {"webhook_tries": tries, "webhook_at": due, "webhook_told": int(delivered)})

    # ------------------------------------------------------------------------------------------------

    def _rows(self, where: str, *values: object) -> list[Job]:
        with self._lock:
            rows = self._db.execute(f"SELECT {COLUMNS} FROM jobs {where}", values).fetchall()
        return [
            Job(
                **{
                    **dict(row),
                    "parameters": json.loads(row["parameters"]),
                    "error": json.loads(row["error"]) if row["error"] else None,
                    "told": tuple(Turn(*turn) for turn in json.loads(row["told"] or "[]")),
                }
            )
            for row in rows
        ]

    def _update(self, id: str, columns: Mapping[str, object]) -> None:
        names = ", ".join(f"{name} = ?" for name in columns)
        self._db.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*columns.values(), id))

    def _write_upload(self, file: IO[bytes], id: str) -> None:
        """Onto the disk itself, so that a job that was accepted survives a loss of power."""
        file.seek(0)
        with whole(self.upload(id)) as unfinished, open(unfinished, "wb") as upload:
            shutil.copyfileobj(file, upload, 2**20)
            upload.flush()
            os.fsync(upload.fileno())
        if os.name == "posix":  # Windows opens no folder
            folder = os.open(self.folder, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    def _resume(self) -> None:
        """What the last server left: jobs in the middle, and files of jobs that were never accepted."""
        error = {"message": f"The server ended {MOST_ATTEMPTS} times over this recording.", "code": "internal_error"}
        for job in self._rows("WHERE status = 'running'"):
            if job.attempts >= MOST_ATTEMPTS:
                self.end(job.id, error={**error, "type": "server_error", "param": None})
            else:
                self._update(job.id, {"status": "queued", "started_at": None})
        for file in [*self.folder.glob("*.upload"), *self.folder.glob("*.part")]:
            if self.get(file.stem) is None:
                file.unlink(missing_ok=True)


def _open_database(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    try:
        database.row_factory = sqlite3.Row
        if database.execute("PRAGMA auto_vacuum").fetchone()[0] != INCREMENTAL:
            database.execute(f"PRAGMA auto_vacuum={INCREMENTAL}")
            with contextlib.suppress(sqlite3.Error):  # of an earlier version's folder; it needs room for a copy
                database.execute("VACUUM")
        database.execute("PRAGMA journal_mode=WAL")
        database.execute(f"PRAGMA journal_size_limit={LARGEST_JOURNAL}")
        database.execute("PRAGMA synchronous=FULL")
        database.executescript(SCHEMA)
        there = {row["name"] for row in database.execute("PRAGMA table_info(jobs)")}
        for column in ADDED:
            if column not in there:
                database.execute(f"ALTER TABLE jobs ADD COLUMN {column} TEXT")
    except sqlite3.Error:
        database.close()
        raise
    return database
