"""FailureExplorer's cases: which are held, which are put away with their log, and how each comes back."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, replace
from typing import Any

from ...images import ImageSource
from ...investigate.failures import Decided, failures
from ...investigate.interventions import Edits
from .case import Case, case_of
from .channel import FailureChannel

LIVE = 4  # failures that are held with trees and states; of others their log
MOST_CASES = 100


class FailureCases(FailureChannel):
    """The part of `FailureExplorer` that remembers what was opened."""

    def __init__(self, *args: Any, **traits: Any) -> None:
        self._live: OrderedDict[int, Case] = OrderedDict()
        self._kept: OrderedDict[int, dict[str, Any]] = OrderedDict()  # number → the log of a case that is not live
        super().__init__(*args, **traits)

    # ------------------------------------------------------------------ once more, and never more

    def __setattr__(self, name: str, value: Any) -> None:
        again = name == "chosen" and value is not None and value == self.chosen
        super().__setattr__(name, value)
        if again:  # no change, of which traits tell nothing
            self._try_again()

    def set_state(self, sync_data: dict[str, Any]) -> None:
        """As of every view; a picture that could not be opened is tried again when it is chosen again."""
        again = sync_data.get("chosen") is not None and sync_data["chosen"] == self.chosen
        super().set_state(sync_data)
        if again:
            self._try_again()

    def _try_again(self) -> None:
        with self._lock:
            if self._case.get("state") == "failed":
                self._forget()
                self._open_case()

    def _put_away(self) -> None:
        with self._lock:
            self._live.clear()
            self._kept.clear()
            self._index = None
            self._cancel("index")
            self.chosen = None
            self._cases = []

    def _open_case(self) -> None:
        """Open what is chosen: set by `FailureWork`."""
        raise NotImplementedError

    # ------------------------------------------------------------------ held and put away

    def _case_of(self, number: int) -> Case:
        """The case of a picture: as it was left, or new."""
        known = self._live.get(number)
        if known is None:
            return self._again_from(number, self._kept.get(number))
        return known.anew() if known.stale else known

    def _again_from(self, number: int, log: dict[str, Any] | None) -> Case:
        """The case of a picture, with what its log says done to it."""
        decided = self._decided(number)
        x = self._input(decided)
        case = case_of(self.classifier, decided, x, self._item(number), self._names)
        if log is not None:
            case.edits = Edits.replay(self.classifier, x, log["edits"])
        return case

    def _decided(self, number: int) -> Decided:
        made, samples = self._made, self._samples
        found = next((d for d in made.decided if d.number == number), None) if made is not None else None
        if found is not None:
            return found
        if samples is None or not 0 <= number < len(samples):
            raise ValueError(f"picture {number!r} is not in the table; numbers are those of the data set")
        one = failures(self.classifier, [samples.dataset[number]]).decided[0]  # asked for before the table was there
        return replace(one, number=number, id=samples[number].id)

    def _input(self, decided: Decided) -> ImageSource:
        samples = self._samples
        return samples[decided.number].open() if samples is not None else self._table_or_raise().input(decided)

    def _retire(self) -> None:
        """Of the cases that are not held any more, what was done is kept."""
        while len(self._live) > LIVE:
            number, case = self._live.popitem(last=False)
            if case.edits.log:
                self._kept[number] = case_log(case)
        while len(self._kept) > MOST_CASES:
            self._kept.popitem(last=False)

    def _logs(self) -> dict[int, dict[str, Any]]:
        """Every case in which something was done, as plain values."""
        live = {number: case_log(case) for number, case in self._live.items() if case.edits.log}
        return {**{number: one for number, one in self._kept.items() if number not in self._live}, **live}


def case_log(case: Case) -> dict[str, Any]:
    """A case as plain values, for the log."""
    return {**asdict(case.decided), "edits": case.edits.to_json()}
