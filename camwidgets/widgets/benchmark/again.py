"""A run on record as what a benchmark can be asked: so that it is run again, or gone on with."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...evaluation.measure import measures
from ...evaluation.plan import BASELINES
from ...maps.catalogue import methods as catalogue

TAKEN = ("method", "enhance")  # of a method on record: its name, and whether it was enhanced


def asked_again(
    request: Mapping[str, Any], networks: Iterable[str], sets: Iterable[str]
) -> tuple[dict[str, Any], list[str]]:
    """(traits of `Benchmark`, what of the run cannot be chosen there).

    sets: names of data sets that can be chosen beside those on disk.
    """
    left: list[str] = []
    traits = _methods(request["methods"], left) | _tests(request["tests"], left)
    if request["model"] in networks:
        traits["network"] = request["model"]
    else:
        left.append(f"the network {request['model']!r} is not among these")
    source = request.get("source") or {}
    cells = source.get("mosaics")
    traits |= _data(request, source, list(sets), left)
    traits |= {name: request[name] for name in ("target", "seed")} | {"mosaics": cells["count"] if cells else None}
    if not cells:  # the pictures that mosaics were made of are not counted in the record
        traits["limit"] = request["limit"]
    if request["fit"] in ("squash", "crop"):
        traits["fit"] = request["fit"]
    else:
        left.append("its pictures were fitted in the network's own way")
    return traits, left


def _methods(recorded: Mapping[str, Mapping[str, Any]], left: list[str]) -> dict[str, list[str]]:
    known = {*catalogue(), *BASELINES}
    found: dict[str, list[str]] = {"methods": [], "enhanced": []}
    for title, one in recorded.items():
        if "own" in one or one["method"] not in known:
            left.append(f"{title!r} is a method of somebody's own")
            continue
        found["enhanced" if one.get("enhance") else "methods"].append(one["method"])
    return {kind: list(dict.fromkeys(names)) for kind, names in found.items()}


def _tests(recorded: Mapping[str, Mapping[str, Any]], left: list[str]) -> dict[str, Any]:
    there = {name: dict(given) for name, given in recorded.items() if name in measures()}
    left += [f"there is no test {name!r} here" for name in recorded if name not in there]
    return {"tests": list(there), "parameters": {name: given for name, given in there.items() if given}}


def _data(request: Mapping[str, Any], source: Mapping[str, Any], sets: list[str], left: list[str]) -> dict[str, str]:
    """The data set by its source, or by its name if it was given to this benchmark."""
    name = str(source.get("source", ""))
    if request["data"] in sets:
        return {"data": request["data"]}
    if source.get("options"):
        said = ", ".join(f"{option}={value}" for option, value in source["options"].items())
        left.append(f"it was made on {name} opened with {said}: give that data set to the benchmark")
    elif name and (name in sets or Path(name).exists()):
        return {"data": name}
    elif name:
        left.append(f"its pictures are not at {name!r} any more")
    else:
        left.append(f"it was made on {request['data']}, given in memory: choose that data set to go on with it")
    return {}
