"""What every `camwidgets train` command asks for, said once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from typing import Annotated, Any

import typer


@dataclass(frozen=True)
class Options:
    """The settings of a training that no objective has to itself; each field is an option of the command line."""

    epochs: Annotated[int, typer.Option(min=1, help="Times that every picture is seen.")] = 10
    batch: Annotated[int, typer.Option(min=1, help="Pictures a step.")] = 32
    rate: Annotated[float, typer.Option(help="Highest learning rate, in (0, 1].")] = 1e-3
    decay: Annotated[float, typer.Option(min=0.0, help="Weight decay (AdamW), ≥ 0.")] = 2e-4
    schedule: Annotated[str, typer.Option(help='Of the rate: "onecycle" (up, then down) or "constant".')] = "onecycle"
    seed: Annotated[int, typer.Option(min=0, help="Of all that is drawn by chance.")] = 0
    validation: Annotated[str | None, typer.Option(help="A data set to judge by after each epoch, as DATASET.")] = None
    limit: Annotated[int | None, typer.Option(min=1, help="So many pictures, drawn by chance.")] = None
    size: Annotated[
        int | None, typer.Option(min=8, max=4096, help="Side that pictures are stretched to [default: own].")
    ] = None
    watch: Annotated[int, typer.Option(min=0, help="Pictures whose maps are kept after each epoch.")] = 6
    patience: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many epochs without a lower val_loss.")
    ] = None
    device: Annotated[str, typer.Option(help='"auto", "cpu", "cuda" …')] = "auto"
    precision: Annotated[str, typer.Option(help='"float32" or "bf16" (autocast).')] = "float32"
    workers: Annotated[int, typer.Option(min=0, help="Processes that open pictures.")] = 0
    augment: Annotated[
        bool, typer.Option("--augment/--no-augment", help="Mirror, shift and relight pictures.")
    ] = True
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder, given the same settings.")
    ] = False

    def training(self) -> dict[str, Any]:
        """What `train` takes as it is; the rest says which pictures there are."""
        return {name: value for name, value in vars(self).items() if name not in ("validation", "limit", "size")}


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first parameter is an `Options`, as one that has its fields instead, behind all others.

    Typer reads a command's signature, so that is what is made.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    common = list(inspect.signature(Options, eval_str=True).parameters.values())
    names = [one.name for one in fields(Options)]

    @wraps(command)
    def asked(**given: Any) -> None:
        command(Options(**{name: given.pop(name) for name in names}), **given)

    asked.__dict__["__signature__"] = inspect.Signature([*own, *common])
    asked.__annotations__ = {one.name: one.annotation for one in (*own, *common)}
    return asked
