"""What an adversarial explorer does beside the kernel: a look at the picture, the sweep, what is followed over it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import traitlets as t

from ...decomposition.tree import decompose
from ...errors import choose
from ...investigate.rival import rival
from ...investigate.sweep import Sweep, sweep
from ..ground import Ask, Ground, known_target, new_ground
from ..sources import Networks, Pictures
from ..speaking import checked, failure, sentence
from ..worker import Superseded, Ticket, Worker, answering
from .pace import Asked, Pace, told
from .traits import SETTINGS, AdversarialTraits
from .words import Shown, check_size, diffs_of, rows_of, sweep_bytes, sweep_words


class AdversarialWork(AdversarialTraits):
    """The part of `AdversarialExplorer` between the traits and the functions: threads, each made when it is needed."""

    def __init__(
        self, pictures: Pictures, networks: Networks, own: dict[str, Callable[..., Any]], **traits: Any
    ) -> None:
        self.own = own
        self._ground: Ground | None = None
        self._answered: Ask | None = None
        self._shown: Shown | None = None
        self._pace: Pace | None = None
        self._numbers = 0
        self._no_tree = ""
        self._trouble: dict[str, str] = {}  # what went wrong with the last run; a look that ends later does not hide it
        self._worker: Worker[Asked] = Worker(self._look, "camwidgets-adversarial-look", self._lost)
        self._runner: Worker[tuple[Asked, Pace]] = Worker(
            self._run, "camwidgets-adversarial-run", self._lost
        )
        super().__init__(pictures, networks, **traits)

    # ------------------------------------------------------------------ what may be asked

    @t.validate("target")
    def _known_target(self, proposal: Any) -> Any:
        return known_target(proposal.value, self._ground, self._answered, self.network)

    @t.validate("stage")
    def _known_stage(self, proposal: Any) -> str:
        ground, answered = self._ground, self._answered
        if not proposal.value or ground is None or answered is None or answered.network != self.network:
            return str(proposal.value)
        with checked():
            return choose("stage", proposal.value, ground.classifier.stages)

    # ------------------------------------------------------------------ a look at the picture

    @t.observe("picture", "network")
    def _asked(self, change: Any) -> None:
        if not self._ready or self._muted:
            return
        if change.name == "network" or not self.targeted:
            self.target = None
        if change.name == "network":
            self.stage = ""
        self._submit()

    def _request(self, download: bool) -> None:
        self._worker.submit(self.asked(download))

    def asked(self, download: bool = False) -> Asked:
        """What the traits ask for, at this moment."""
        values = {name: getattr(self, name) for name in SETTINGS}
        return Asked(values | {"epsilons": list(self.epsilons)}, download)

    def _look(self, asked: Asked, ticket: Ticket) -> None:
        with answering(ticket, self._worker.lock, self._fail):
            ground = self._prepared(asked, partial(self._tell, ticket=ticket), ticket.check)
            target = asked.target if asked.target is None else ground.classifier.index(asked.target)
            if asked.stage:
                choose("stage", asked.stage, ground.classifier.stages)
            with self._worker.lock:
                ticket.check()
                self._stand_on(ground, asked, target)

    def _prepared(self, asked: Asked, tell: Callable[[str], None], check: Callable[[], None]) -> Ground:
        self._numbers += 1
        return new_ground(asked.subject, self.pictures, self.networks, self._numbers, tell, check)

    def _stand_on(self, ground: Ground, asked: Asked, target: int | None) -> None:
        """Show the picture and what it is taken for; a sweep on screen stays, and is stale."""
        new_network = self._ground is None or self._ground.classifier is not ground.classifier
        with self._one_message():
            self._ground, self._answered = ground, asked.subject
            for name, value in ground.traits().items():
                setattr(self, name, value)
            self._scene = {**self._scene, "stages": list(ground.classifier.stages)}
            self.picture, self.network = asked.subject.picture, asked.subject.network
            if self.target == asked.target:
                self.target = target
            if new_network:
                self._labels, self._networks = list(ground.classifier.labels), self.networks.options()
            self._come_to_rest()
            self._status = self._trouble or self._status
            self._write_code()

    def _revert(self) -> bool:
        """Back to the picture and the network on screen; and to no class where the one given was none."""
        with self._one_message():
            if self._answered is None:
                self.picture, self.target, self.stage = "", None, ""
                return False
            self.picture, self.network = self._answered.picture, self._answered.network
        return True

    # ------------------------------------------------------------------ the sweep

    def _run(self, job: tuple[Asked, Pace], ticket: Ticket) -> None:
        asked, pace = job
        ticket.stops(pace.stop)
        state = "failed"
        try:
            ground = self._prepared(asked, partial(setattr, pace, "text"), pace.check)
            shown = self._swept(asked, ground, pace)
            with self._worker.lock:
                pace.check()
                ticket.check()
                self._show(shown, asked, ground)
            state = "done"
        except Superseded:
            state = "cancelled"
        except Exception as error:  # noqa: BLE001 - whatever it is, the user reads it in the widget
            with self._worker.lock:
                if self._pace is pace:
                    self._trouble = failure(error, "What was there before stays." if self._shown else "")
                    self._status = self._trouble
        finally:
            with self._worker.lock:
                if self._pace is pace:  # else another run has begun
                    self._progress, self._pace = pace.words(state), None

    def _swept(self, asked: Asked, ground: Ground, pace: Pace) -> Shown:
        _check(asked, ground)
        method = asked.attack if asked.attack not in self.own else told(asked.attack, self.own[asked.attack])
        pace.attacked(0, len(asked.epsilons) + 1)
        depth, self._no_tree = _growable(ground, asked.depth)
        found = sweep(
            ground.classifier, ground.x, asked.epsilons, asked.target, top=asked.top, stage=asked.stage or None,
            trees=depth, progress=pace.attacked, norm=asked.norm, steps=asked.steps, seed=asked.seed,
            targeted=asked.targeted, method=method, watch=pace.watch,
        )  # fmt: skip
        return followed(found, pace.followed)

    def _show(self, shown: Shown, asked: Asked, ground: Ground) -> None:
        """Everything in one message, so that nothing half old is ever drawn."""
        self._numbers += 1
        target = asked.target if asked.target is None else ground.classifier.index(asked.target)
        data = sweep_bytes(shown)
        about = {
            "asked": asked.settings | {"target": target}, "picture": ground.name, "network": ground.classifier.name,
            "no_tree": self._no_tree, "bytes": sum(map(len, data.values())),
        }  # fmt: skip
        with self._one_message():
            self._shown = shown
            self._sweep = sweep_words(shown, self._numbers, about)
            for name, value in data.items():
                setattr(self, name, value)
            flip = self._sweep["flip"]
            self.index = len(shown.sweep.frames) - 1 if flip is None else flip
            names = [row["name"] for row in (self._sweep["tree"] or {"rows": []})["rows"]]
            if self.channel not in names:
                self.channel = names[0] if names else ""
            self._write_code()

    def _write_code(self) -> None:
        """The lines that reproduce the view: set by the explorer."""
        raise NotImplementedError


def _check(asked: Asked, ground: Ground) -> None:
    """What can be refused before anything long runs."""
    check_size(len(asked.epsilons), (ground.x.shape[2], ground.x.shape[3]))
    if not asked.targeted:
        return
    if asked.target is None:
        raise ValueError("no class was chosen to move towards: search one under Aim, or move away from the top class")
    if ground.classifier.index(asked.target) == ground.target:
        raise ValueError(f"the picture is taken for {ground.label!r} already; choose another class to move towards")


def _growable(ground: Ground, depth: int) -> tuple[int | None, str]:
    """The depth of the trees, None where there are to be none; and why a network has none."""
    if not depth:
        return None, "Trees are switched off: set their depth under Follow and attack again."
    try:
        decompose(ground.classifier, ground.x, ground.target, depth=1)
    except ValueError as error:
        return None, f"No tree of this network: {sentence(error)}"
    return depth, ""


def followed(found: Sweep, progress: Callable[[int, int], None] | None = None) -> Shown:
    """A sweep with all that is shown of it."""
    diffs = diffs_of(found)
    rows = rows_of(diffs)
    channels: dict[str, list[int]] = {}
    for stage, k in rows:
        channels.setdefault(stage, []).append(k)
    return Shown(found, rival(found, channels=channels, progress=progress), diffs, rows)
