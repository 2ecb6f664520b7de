"""FailureExplorer's one failure: opened, taken apart, changed by hand; each step shown as soon as it is known."""

from __future__ import annotations

from typing import Any

import traitlets as t

from ...decomposition.diff import TreeDiff
from ...errors import choose
from ...investigate.edit import Edit
from ...investigate.interventions import Edits
from ..speaking import failure, sentence
from ..worker import Superseded, Ticket
from .case import Case
from .cases import FailureCases
from .channel import NOTHING, WORKING
from .traits import ACTIONS, TOOLS, rgb
from .words import blame_words, case_words, effect_words, log_words, trees_words

HAND = ("tool", "action", "colour", "sigma", "outside")


class FailureWork(FailureCases):
    """The part of `FailureExplorer` about the chosen failure."""

    # ------------------------------------------------------------------ opening

    @t.observe("chosen")
    def _another_case(self, _: Any) -> None:
        if self._ready:
            self._forget()
            self._open_case()

    def _open_case(self) -> None:
        number = self.chosen
        with self._show():
            self._drop("effect", "trees", "channel")
            self._open, self._patch, self._sights = None, None, []
            self._case = dict(WORKING) if number is not None else {}
            self._picture = self._now = self._channel_map = b""
            self._effect, self._blame, self._trees = {}, {}, {}
            self._channel, self._patches, self._log = {}, {}, []
            self.channel = []

        def job(ticket: Ticket) -> None:
            if number is None:
                return
            try:
                case = self._case_of(number)
                first = effect_words(case, case.edits)  # nobody else has it yet; what is found is kept
                with self._show(ticket):
                    self._adopt(case, first)
                self._take_apart(case, ticket)
            except Superseded:
                raise
            except Exception as error:  # said where the picture would be
                with self._show(ticket):
                    said = failure(error)
                    self._case = {"state": "failed", "text": said["text"], "details": said["details"]}
                raise

        self._start("case", job)

    def _adopt(self, case: Case, first: dict[str, Any]) -> None:
        self._open = case
        self._kept.pop(case.decided.number, None)  # from here on the case itself knows, also that all was undone
        self._live[case.decided.number] = case
        self._live.move_to_end(case.decided.number)
        self._retire()
        self._tell_case(case)
        self._picture = case.edits.original.tobytes()
        self._now = _changed_pixels(case.edits)
        if self.stage not in case.classifier.stages:
            self.stage = next(reversed(case.classifier.stages), "")
        self._effect, self._blame, self._trees = first, dict(WORKING), dict(WORKING)
        self._tell_log(case)

    def _tell_case(self, case: Case) -> None:
        """Its headline is the table's; whether the network is still that of the table is said beside it."""
        known = {} if self._made is None else self._made.made_by
        stale = known.get("weights_sha256", case.weights) != case.weights
        self._case = {"state": "done", **case_words(case, self.classifier.labels), "stale": stale}

    def _current(self, case: Case) -> Case:
        with self._lock:
            if not case.stale:
                return case
            new = case.anew()
            self._live[case.decided.number] = new
            if self._open is not case:
                return new
            self._open = new
            with self._show():
                self._drop("effect", "trees", "channel")
                self._tell_case(new)
                self._effect = {**self._effect, "state": "working"}
                self._blame, self._trees = dict(WORKING), dict(WORKING)
            self._start("case", lambda ticket: self._take_apart(new, ticket))
            self._start_effect(new)
            return new

    def _take_apart(self, case: Case, ticket: Ticket) -> None:
        """Blame and trees; a network that has none of them still shows the rest."""
        try:
            blame_words(case, self.stage)  # draws the little maps, which takes a while
            with self._show(ticket):
                self._show_blame(case)  # stage and switches as they are by now
        except (ValueError, RuntimeError, KeyError) as error:
            with self._show(ticket):
                self._blame = {"state": "failed", "text": sentence(error)}
        try:
            trees = trees_words(case.find_diff(), "classes", case.thumbs)
        except (ValueError, RuntimeError, KeyError) as error:
            trees = {"state": "failed", "what": "classes", "text": sentence(error)}
        with self._show(ticket):
            if "what" not in self._trees:  # nothing else was asked for meanwhile
                self._trees = trees

    # ------------------------------------------------------------------ changes

    def _do(self, change: Any) -> None:
        """A change of the edits (a function of them), and what follows from it."""
        with self._lock:
            self._forget()
            case = self._case_or_raise()
            before = len(case.edits.log), case.edits.done
            change(case.edits)
            if (len(case.edits.log), case.edits.done) != before:
                self._changed(case)

    def _changed(self, case: Case) -> None:
        with self._show():
            self._now = _changed_pixels(case.edits)
            self._effect = {**self._effect, "state": "working"}
            if self._trees.get("what") == "change":  # of another state of the picture: never shown beside this one
                self._drop("trees")
                self._trees = dict(NOTHING) if case.diff is None else trees_words(case.diff, "classes", case.thumbs)
            off = set(case.edits.off)
            if self._blame.get("state") == "done":
                rows = [{**row, "off": (row["tap"], row["channel"]) in off} for row in self._blame["rows"]]
                self._blame = {**self._blame, "rows": rows}
            self._tell_log(case)
        self._start_effect(case)

    def _broken(self, name: str, error: Exception) -> None:
        if name == "effect":
            self._effect = {**self._effect, "state": "failed"}
        super()._broken(name, error)

    def _start_effect(self, case: Case) -> None:
        edits = case.edits.copy()

        def job(ticket: Ticket) -> None:
            words = effect_words(case, edits)
            with self._show(ticket):
                self._effect = words

        self._start("effect", job)

    def _preview(self, content: dict[str, Any]) -> None:
        """What a stroke that is still being drawn would do; nothing is done. Without a region: what is, again."""
        with self._lock:
            case = self._case_or_raise()
            edits, state = case.edits.copy(), "done"
            if content.get("region"):
                try:
                    edits.do(self._edit_of(content))
                except ValueError:
                    return  # not yet in the picture
                state = "preview"

        def job(ticket: Ticket) -> None:
            words = effect_words(case, edits)
            with self._show(ticket):
                self._effect = {**words, "state": state}

        self._start("effect", job)

    def _tell_log(self, case: Case) -> None:
        self._log = log_words(case)
        kept = [(number, one["id"], one["label"], one["predicted"], len(one["edits"]["edits"]))
                for number, one in self._kept.items() if number not in self._live]  # fmt: skip
        held = [(n, c.decided.id, c.decided.label, c.decided.predicted, len(c.edits.log))
                for n, c in self._live.items() if c.edits.log]  # fmt: skip
        labels = self.classifier.labels
        self._cases = [
            {"number": number, "steps": steps, "text": f"{name}: {labels[own]} → {labels[taken]}"}
            for number, name, own, taken, steps in [*kept, *held]
        ]

    def _edit_of(self, content: dict[str, Any]) -> Edit:
        """The change that a message of the front end describes; what it does not say is as the traits are."""
        case = self._case_or_raise()
        hand = {name: content.get(name, getattr(self, name)) for name in HAND}
        if choose("tool", str(hand["tool"]), TOOLS) == "paste":
            if self._patch is None:
                raise ValueError("there is no patch to paste yet; choose one under the channel's patches")
            h, w = self._patch.shape[:2]
            x, y = round(float(content["x"]) - w / 2), round(float(content["y"]) - h / 2)
            return Edit("paste", None, {"patch": self._patch, "x": x, "y": y})
        region = case.region({**dict(content["region"]), "outside": hand["outside"] and hand["action"] != "background"})
        action = choose("action", str(hand["action"]), ACTIONS)
        if action == "paint":
            return Edit("paint", region, {"colour": rgb(str(hand["colour"])) if hand["colour"] else None})
        if action == "blur":
            return Edit("blur", region, {"sigma": float(hand["sigma"])})
        if action == "inpaint":
            return Edit("inpaint", region)
        return Edit("background", region, {"picture": self._backdrop(int(content.get("backdrop", -1)))})

    # ------------------------------------------------------------------ trees

    def _show_trees(self, what: str, target: int | None = None) -> None:
        case = self._case_or_raise()
        choose("trees", what, ("classes", "change"))
        if what == "change" and not case.edits.log:
            raise ValueError("nothing was done to the picture yet: there is no change of a tree to show")
        with self._lock:
            self._trees = {**WORKING, "what": what}
            edits = case.edits.copy()

        def job(ticket: Ticket) -> None:
            try:
                if what == "classes":
                    words = trees_words(case.find_diff(), what, case.thumbs)
                else:
                    words = trees_words(case.find_change(edits, case.taken if target is None else target), what, {})
            except (ValueError, RuntimeError, KeyError) as error:
                words = {"state": "failed", "what": what, "text": sentence(error)}
            with self._show(ticket):
                self._trees = words

        self._start("trees", job)

    def _diff_now(self) -> TreeDiff | None:
        return None if self._open is None else self._open.diff


def _changed_pixels(edits: Edits) -> bytes:
    """The picture as it is now; nothing while only channels were switched."""
    return b"" if edits.picture is edits.original else edits.picture.tobytes()
