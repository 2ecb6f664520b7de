"""FailureExplorer's record: the log that can be replayed, and a bundle with everything, opened again anywhere."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...classifiers.classifier import Classifier
from ...classifiers.registry import BUILT_IN, load
from ...decomposition.tree import Decomposition
from ...images import ImageSource
from ...investigate.bundle import Bundle, open_bundle, save_bundle
from ...investigate.failures import Decided, FailureTable
from ..speaking import sentence
from .case import Case, small
from .cases import MOST_CASES, case_log
from .page import case_page
from .work import FailureWork

FORMAT = 1
KIND = "failure-explorer"
MOST_BUNDLED = 12  # cases with pictures, maps and trees; of more, the log alone
MOST_SMALL = 120  # thumbnails of other failures
ROW = tuple(one.name for one in fields(Decided))
CLOSE = 1e-3  # logits that differ by less are the same prediction on another machine


class FailureRecord(FailureWork):
    """The part of `FailureExplorer` that writes down what was done and reads it again."""

    _bundle: Bundle | None = None

    @property
    def log(self) -> dict[str, Any]:
        """Everything that was done, as plain values: pictures by number and hash, each with its changes in force."""
        with self._lock:
            cases = self._logs()
            if self._open is not None:
                cases.setdefault(self._open.decided.number, case_log(self._open))
            return {
                "format": FORMAT, "kind": KIND, "model": self.classifier.name, "chosen": self.chosen,
                "weights_sha256": self.classifier.weights_hash(), "stage": self.stage, "cases": list(cases.values()),
            }  # fmt: skip

    def save_bundle(self, path: str | Path) -> Path:
        """Write one file with everything: settings, hashes, the log, pictures, maps, trees, a page for each case.

        Opened by `FailureExplorer.from_bundle(path)`, with no need of the data set; see `save_bundle` in `investigate`.

        Raises:
            ValueError: no failure was opened yet.
        """
        log, cases = self._snapshot()
        pictures: dict[str, ImageSource] = {}
        maps: dict[str, np.ndarray] = {}
        trees: dict[str, Decomposition] = {}
        pages: dict[str, str] = {}
        results: dict[str, list[float]] = {}
        for case in cases:
            n, edits = case.decided.number, case.edits
            pictures |= {f"{n} original": edits.original, f"{n} now": edits.picture}
            maps[f"{n} input"] = edits.input(0).cpu().numpy()
            pages[str(n)] = case_page(case, log["stage"])  # finds blame and trees where they are not known yet
            for stage, blamed in (case.blames or {}).items():
                maps |= {f"{n} {stage} {one.channel}": one.evidence for one in blamed[:3]}
            if case.diff is not None:
                trees |= {f"{n} own": case.diff.before, f"{n} taken": case.diff.after}
            results[str(n)] = edits.effect().logits.tolist()
        pictures |= self._thumbs_for(set(results))
        config = {"kind": KIND, "format": FORMAT, "log": log, "results": results, "table": self._rows()}
        return save_bundle(path, config=config, pictures=pictures, maps=maps, trees=trees, pages=pages)

    def _snapshot(self) -> tuple[dict[str, Any], list[Case]]:
        """The log and its last cases as they are at one moment: what is done later is done to others."""
        with self._lock:
            log = self.log
            held = {number: self._current(case) for number, case in list(self._live.items())}
            live = {number: replace(case, edits=case.edits.copy()) for number, case in held.items()}
        if not log["cases"]:
            raise ValueError("nothing was looked at yet: choose a failure first, then save what was found")
        some = log["cases"][-MOST_BUNDLED:]
        return log, [live.get(one["number"]) or self._again_from(one["number"], one) for one in some]

    def check(self) -> list[str]:
        """What does not come out as the bundle says that this explorer was opened from; [] = everything does.

        What the bundle's log says is done again, whatever was done here since. Every prediction is compared, and every
        page is drawn again: its text must be the same, to the last bit (another machine's arithmetic may
        differ in the last digits of a thumbnail; the words say which).
        """
        bundle = self._bundle
        if bundle is None:
            raise ValueError("this explorer was not opened from a bundle: there is nothing to check it against")
        found, log = [], bundle.config["log"]
        cases = {str(one["number"]): one for one in log["cases"]}
        for number, logits in bundle.config["results"].items():
            try:
                case = self._again_from(int(number), cases[number])
            except ValueError as error:
                found.append(f"picture {number}: {sentence(error)}")
                continue
            now = case.edits.effect().logits
            if not torch.allclose(now, torch.tensor(logits), rtol=CLOSE, atol=CLOSE):
                found.append(f"picture {number}: the prediction differs")
            elif case_page(case, str(log.get("stage", ""))) != bundle.pages.get(number):
                found.append(f"picture {number}: the prediction is the same, its page is not")
        return found

    # ------------------------------------------------------------------ into the bundle

    def _rows(self) -> dict[str, Any]:
        table = self._made
        if table is None:
            return {"decided": [], "made_by": {}, "broken": {}}
        rows = [[d.number, d.id, d.label, d.predicted, d.confidence, d.own] for d in table.decided]
        return {"decided": rows, "made_by": table.made_by, "broken": table.broken}

    def _thumbs_for(self, known: set[str]) -> dict[str, ImageSource]:
        found: dict[str, ImageSource] = {}
        for one in () if self._made is None else self._made.failures[:MOST_SMALL]:
            if str(one.number) not in known:
                try:
                    found[f"{one.number} small"] = np.asarray(small(self._seen(one), 96))
                except (ValueError, OSError):
                    continue
        return found

    # ------------------------------------------------------------------ out of it

    def _decided(self, number: int) -> Decided:
        """A picture of the bundle's log may be beside the table, or looked at before there was one."""
        for one in self._bundle.config["log"]["cases"] if self._bundle is not None else ():
            if one["number"] == number:
                return _decided([one[name] for name in ROW], len(self.classifier.labels))
        return super()._decided(number)

    def _input(self, decided: Decided) -> ImageSource:
        given = self._of_bundle(self._bundle and self._bundle.maps, f"{decided.number} input")
        if given is None:
            return super()._input(decided)
        return torch.from_numpy(given)

    def _seen(self, one: Decided) -> Any:
        kept = self._bundle and self._bundle.pictures
        for name in (f"{one.number} original", f"{one.number} small"):
            found = self._of_bundle(kept, name)
            if found is not None:
                return found
        return super()._seen(one)

    @staticmethod
    def _of_bundle(kept: Any, name: str) -> Any:
        return None if not kept else kept.get(name)

    def _take_up(self, log: dict[str, Any]) -> None:
        """Make a log's cases those of this explorer; each is replayed when it is opened."""
        for one in checked_log(log, self.classifier)["cases"]:
            self._kept[int(one["number"])] = one
        self.stage = str(log.get("stage", ""))


def checked_log(log: Any, classifier: Classifier) -> dict[str, Any]:
    """A log that this version can read and that is of this network.

    Raises:
        ValueError: it is none, of another version, of another network, or too long.
    """
    if not isinstance(log, dict) or log.get("kind") != KIND or not isinstance(log.get("cases"), list):
        raise ValueError("this is no log of a FailureExplorer; one is what its `log` gives, or a bundle of it")
    if log.get("format") != FORMAT:
        raise ValueError(f"the log has format {log.get('format')!r}; this version reads {FORMAT}")
    if log.get("weights_sha256") != classifier.weights_hash():
        raise ValueError(
            f"the log is of {str(log.get('model'))[:80]!r} (weights {str(log.get('weights_sha256'))[:12]}…), not of "
            f"{classifier.name} (weights {classifier.weights_hash()[:12]}…)"
        )
    if len(log["cases"]) > MOST_CASES:
        raise ValueError(f"the log holds {len(log['cases'])} pictures; at most {MOST_CASES} are read")
    for i, one in enumerate(log["cases"], 1):
        try:
            _decided([one[name] for name in ROW], len(classifier.labels))
            if not isinstance(one["edits"]["edits"], list):
                raise ValueError("its edits are no log of Edits")
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"picture {i} of the log cannot be read: {error}") from error
    chosen = log.get("chosen")
    if chosen is not None and type(chosen) is not int:
        raise ValueError("the log's chosen picture is no number")
    return log


def opened_table(path: str | Path, classifier: Classifier | None) -> tuple[Classifier, FailureTable | None, Bundle]:
    """The network, the table (if there was one) and the rest of a FailureExplorer's bundle; nothing in it is run."""
    bundle = open_bundle(path)
    config = bundle.config
    log, rows = config.get("log"), config.get("table")
    if config.get("kind") != KIND or not isinstance(log, dict) or not isinstance(rows, dict):
        raise ValueError(
            f"{str(path)!r} is a bundle of something else; a FailureExplorer opens what its save_bundle wrote"
        )
    if classifier is None:
        name = log.get("model")
        if name not in BUILT_IN:
            raise ValueError(f"the bundle is of the network {str(name)[:80]!r}: give it, from_bundle(path, classifier)")
        classifier = load(name)
    checked_log(log, classifier)
    results = config.get("results")
    known = {str(one["number"]) for one in log["cases"]}
    if not isinstance(results, dict) or not all(
        n in known and _logits(v, len(classifier.labels)) for n, v in results.items()
    ):
        raise ValueError(f"the results of {str(path)!r} cannot be read, or are of pictures that its log has not")
    try:
        decided = tuple(_decided(row, len(classifier.labels)) for row in rows["decided"])
        broken = {str(k): str(v) for k, v in dict(rows["broken"]).items()}
        made_by = dict(rows["made_by"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the table of {str(path)!r} cannot be read: {error}") from error
    table = FailureTable(list(classifier.labels), decided, broken, made_by) if decided else None
    return classifier, table, bundle


def _decided(row: Any, classes: int) -> Decided:
    number, name, label, predicted, confidence, own = row
    if not all(type(n) is int and n >= 0 for n in (number, label, predicted)) or not isinstance(name, str):
        raise ValueError(f"{str(row)[:80]} is no decision")
    if max(label, predicted) >= classes:
        raise ValueError(f"{str(row)[:80]} has a class that the network has not")
    if not all(type(p) is float and math.isfinite(p) for p in (confidence, own)):
        raise ValueError(f"{str(row)[:80]} has no probabilities")
    return Decided(number, name, label, predicted, confidence, own)


def _logits(values: Any, classes: int) -> bool:
    return isinstance(values, list) and len(values) == classes and all(type(v) is float for v in values)
