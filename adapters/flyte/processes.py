"""A map task on this machine as a cluster would run it: Flyte's own container command, a process for each index.

`pyflyte run` executes map tasks one after another in one process. Here each is a process of its own, so they can be
timed, and they share what a cluster's tasks share: files. Of what a cluster does there is no more than inputs, index
and outputs: no retries, no cache, no resources. The files are small and stay in the given folder.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

INDEX = "FLYTE_K8S_ARRAY_INDEX"
REPOSITORY = Path(__file__).resolve().parent.parent.parent


class TaskFailed(Exception):
    """What the task wrote as its error: the command itself ends with 0."""


def run_map(
    mapped: Any,
    inputs: Mapping[str, Any],
    count: int,
    folder: Path,
    *,
    at_a_time: int,
    pinned: bool = False,
    environment: Mapping[str, str] | None = None,
    on_message: Callable[[str], None] = lambda text: None,
) -> list[Any]:
    """The outputs of `mapped` (a `flytekit.map_task(...)`) over `count` indices, `at_a_time` processes at once.

    `pinned` gives each process one core of its own. Raises `TaskFailed` with the first error; on that and on Ctrl-C
    the processes end.
    """
    write_inputs(mapped, inputs, folder)
    cores = sorted(os.sched_getaffinity(0)) if pinned else []
    waiting = list(range(count))
    running: dict[int, subprocess.Popen[bytes]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_a_time:
                index = waiting.pop(0)
                running[index] = start(mapped, index, folder, environment=environment)
                if pinned:
                    os.sched_setaffinity(running[index].pid, {cores[index % at_a_time % len(cores)]})
            for index, process in list(running.items()):
                if process.poll() is not None:
                    del running[index]
                    read_output(mapped, index, folder)
                    on_message(f"task {index + 1} of {count} is done")
            time.sleep(0.05)
    finally:
        for process in running.values():
            os.killpg(process.pid, signal.SIGTERM)
            process.wait()
    return [read_output(mapped, index, folder) for index in range(count)]


def start(
    mapped: Any, index: int, folder: Path, *, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """The process of one index, in a group of its own; its log is `<index>/log.txt`.

    Started again, it is the next attempt: it finds the checkpoint of the one before.
    """
    own = folder / str(index)
    (own / "temporary").mkdir(parents=True, exist_ok=True)
    (own / "error.pb").unlink(missing_ok=True)
    if (own / "checkpoint").exists():
        shutil.rmtree(own / "previous", ignore_errors=True)
        (own / "checkpoint").rename(own / "previous")
    cluster_variables = {
        "BATCH_JOB_ARRAY_INDEX_VAR_NAME": INDEX,
        INDEX: str(index),
        "TMPDIR": str(own / "temporary"),  # where flytekit leaves what it does not need any more
    }
    with (own / "log.txt").open("wb") as log:
        return subprocess.Popen(
            build_command(mapped, folder, own),
            cwd=REPOSITORY,
            env={**os.environ, **(environment or {}), **cluster_variables},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def build_command(mapped: Any, folder: Path, own: Path) -> list[str]:
    """The command of a task's container, its placeholders filled as a cluster does."""
    from flytekit.configuration import ImageConfig, SerializationSettings

    previous = own / "previous"
    values = {
        "{{.input}}": str(folder / "inputs.pb"),
        "{{.outputPrefix}}": str(own),
        "{{.rawOutputDataPrefix}}": str(own / "raw"),
        "{{.checkpointOutputPrefix}}": str(own / "checkpoint"),
        "{{.prevCheckpointPrefix}}": str(previous) if previous.exists() else "",
    }
    command = [values.get(word, word) for word in mapped.get_command(SerializationSettings(ImageConfig.auto()))]
    return [str(Path(sys.executable).with_name(command[0])), *command[1:]]


def write_inputs(mapped: Any, inputs: Mapping[str, Any], folder: Path) -> None:
    from flytekit import FlyteContextManager
    from flytekit.core.type_engine import TypeEngine
    from flytekit.core.utils import write_proto_to_file

    folder.mkdir(parents=True, exist_ok=True)
    with FlyteContextManager.with_context(FlyteContextManager.current_context().new_builder()) as context:
        literals = TypeEngine.dict_to_literal_map(context, dict(inputs), mapped.python_interface.inputs)
    write_proto_to_file(literals.to_flyte_idl(), str(folder / "inputs.pb"))


def read_output(mapped: Any, index: int, folder: Path) -> Any:
    """What the index's task returned. Raises `TaskFailed`."""
    from flyteidl.core.errors_pb2 import ErrorDocument
    from flyteidl.core.literals_pb2 import LiteralMap
    from flytekit import FlyteContextManager
    from flytekit.core.type_engine import TypeEngine
    from flytekit.core.utils import load_proto_from_file
    from flytekit.models.literals import LiteralMap as Literals

    own = folder / str(index)
    if (own / "error.pb").exists() or not (own / "outputs.pb").exists():
        reason = (own / "log.txt").read_text(errors="replace")[-2000:]
        if (own / "error.pb").exists():
            error = load_proto_from_file(ErrorDocument, str(own / "error.pb")).error
            kind = "may pass" if error.kind == error.RECOVERABLE else "stays"
            reason = f"{error.message.strip().splitlines()[-1].strip()} ({kind})"
        raise TaskFailed(f"Task {index}: {reason}")
    literals = Literals.from_flyte_idl(load_proto_from_file(LiteralMap, str(own / "outputs.pb")))
    [(name, kind)] = mapped.python_function_task.python_interface.outputs.items()
    return TypeEngine.literal_map_to_kwargs(FlyteContextManager.current_context(), literals, {name: kind})[name]
