"""As much of kustomize as `deploy/kubernetes` uses: resources, and strategic merges, where lists go by their names.

What it renders is held against `kubectl kustomize` where that is installed.
"""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

MERGED_BY = "name"
KNOWN = {"apiVersion", "kind", "resources", "patches"}


def rendered(folder: Path) -> list[dict[str, Any]]:
    """The resources of the kustomization in a folder."""
    given = yaml.safe_load((folder / "kustomization.yaml").read_text())
    assert set(given) <= KNOWN, "not known here"
    found: list[dict[str, Any]] = []
    for name in given["resources"]:
        path = folder / name
        found += rendered(path) if path.is_dir() else [yaml.safe_load(path.read_text())]
    for patch in given.get("patches", []):
        change = yaml.safe_load((folder / patch["path"]).read_text())
        (target,) = (one for one in found if _id(one) == _id(change))
        place = found.index(target)
        found[place : place + 1] = [] if change.get("$patch") == "delete" else [merged(target, change)]
    return found


def merged(into: Any, change: Any) -> Any:
    """Objects by their keys, where `None` takes one away; lists of objects by their names; all else is replaced."""
    if isinstance(into, dict) and isinstance(change, dict):
        result = {key: value for key, value in into.items() if key not in change or change[key] is not None}
        for key, value in change.items():
            if value is not None:
                result[key] = merged(into[key], value) if key in into else deepcopy(value)
        return result
    if _is_by_name(into) and _is_by_name(change):
        by_name = {one[MERGED_BY]: one for one in into}
        for one in change:
            by_name[one[MERGED_BY]] = merged(by_name.get(one[MERGED_BY], {}), one)
        return list(by_name.values())
    return deepcopy(change)


def _is_by_name(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) and MERGED_BY in one for one in value)


def _id(resource: dict[str, Any]) -> tuple[str, str, str]:
    return resource["apiVersion"], resource["kind"], resource["metadata"]["name"]
