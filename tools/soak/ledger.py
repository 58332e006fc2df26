"""Every accepted job, and what became of it."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ACCEPTED, DONE, DELETED, MAYBE_DELETED = "accepted", "done", "deleted", "maybe deleted"


@dataclass
class Entry:
    """A job; `MAYBE_DELETED` is one whose deletion got no answer."""

    id: str
    recording: int
    parameters: int
    state: str = ACCEPTED
    ended_at: float | None = None


@dataclass
class Ledger:
    """The jobs that were accepted, and how many orders of one got no answer: those may be accepted or not."""

    unanswered: int = 0
    _entries: dict[str, Entry] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def accept(self, id: str, recording: int, parameters: int) -> Entry:
        with self._lock:
            return self._entries.setdefault(id, Entry(id, recording, parameters))

    def note_unanswered(self) -> None:
        with self._lock:
            self.unanswered += 1

    def note_done(self, entry: Entry, ended_at: float) -> str | None:
        """A sentence where it was done before, at another time."""
        with self._lock:
            if entry.ended_at is not None and entry.ended_at != ended_at:
                return f"Job {entry.id} was done twice, at {entry.ended_at} and at {ended_at}."
            entry.ended_at = ended_at
            if entry.state == ACCEPTED:
                entry.state = DONE
            return None

    def some(self, chosen: random.Random) -> Entry | None:
        """One that was not deleted; rather one that is not known to be done."""
        with self._lock:
            waiting = [entry for entry in self._entries.values() if entry.state == ACCEPTED]
            done = [entry for entry in self._entries.values() if entry.state == DONE]
        among = waiting if waiting and (not done or chosen.random() < 0.8) else done
        return chosen.choice(among) if among else None

    def entries(self) -> list[Entry]:
        with self._lock:
            return list(self._entries.values())

    def counts(self) -> Counter[str]:
        return Counter(entry.state for entry in self.entries())

    def check_folder(self, folder: Path) -> list[str]:
        """What the jobs' folder says otherwise, once the server has ended; a sentence each."""
        with sqlite3.connect(folder / "jobs.sqlite3") as database:
            rows = dict(database.execute("SELECT id, status FROM jobs"))
        database.close()
        wrong = []
        known = {entry.id: entry for entry in self.entries()}
        strangers = rows.keys() - known.keys()
        if len(strangers) > self.unanswered:
            wrong.append(
                f"{len(strangers)} jobs are kept that nobody was told of, {self.unanswered} were unanswered."
            )
        for id, entry in known.items():
            if entry.state == DELETED and id in rows:
                wrong.append(f"Job {id} was deleted and is kept as {rows[id]}.")
            elif entry.state in (ACCEPTED, DONE) and rows.get(id) != "done":
                wrong.append(f"Job {id} was accepted and is {rows.get(id, 'gone')}.")
        left = [path.name for path in folder.iterdir() if path.suffix in (".upload", ".part")]
        if left:
            wrong.append(f"{len(left)} recordings are left of jobs that have ended.")
        return wrong
