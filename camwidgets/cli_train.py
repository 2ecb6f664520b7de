"""``camwidgets train classifier | oaa | integral | gain``: maps that learn, from the command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from camwidgets.cli_train_options import Options, with_options
from camwidgets.cli_train_setup import check_kind, network, opened

if TYPE_CHECKING:
    from torch import nn

    from camwidgets.learning.labelled import Labelled
    from camwidgets.learning.objective import Objective
    from camwidgets.learning.run import Run

    Setup = tuple[nn.Module, Objective]

app = typer.Typer(
    help="Train a network whose maps can be watched while it learns.", no_args_is_help=True, rich_markup_mode=None
)

Dataset = Annotated[
    str,
    typer.Argument(
        help="A folder of pictures, an annotation file, or a world with its parameters, such as "
        '"toyworld:n=600,objects=1+3,seed=1" or "textures:n=400".'
    ),
]
Out = Annotated[Path, typer.Option(help="Folder of the run, made if it is not there.")]
Net = Annotated[str, typer.Option(help='"attention" (random weights), or a toy net by name, such as "toy-shortcut".')]
Rule = Annotated[str, typer.Option(help='How maps are accumulated: "max" or "mean".')]
Store = Annotated[str, typer.Option(help='How maps are kept: "float16" or "uint8".')]
Drop = Annotated[bool, typer.Option("--drop", help="Put the attention drop layer in front (OAA++).")]
Threshold = Annotated[float, typer.Option(min=0.0, max=1.0, help="δ, 0 … 1: what is above it is blanked.")]
DropRate = Annotated[float, typer.Option(min=0.0, max=1.0, help="β, 0 … 1: how often.")]
DropWhere = Annotated[str, typer.Option(help='What is blanked: "picture" or "features".')]
Labels = Annotated[
    str, typer.Option(help='"multi-label" (yes or no for each class) or "single-label" (softmax, one a picture).')
]
Begin = Annotated[int, typer.Option(min=1, help="First epoch whose maps are accumulated.")]
MapsFolder = Annotated[Path, typer.Option(help="Run folder of a finished `train oaa`.", show_default=False)]
Loss = Annotated[str, typer.Option(help='"hybrid", "soft" or "enhancement".')]
Between = Annotated[float, typer.Option(min=0.0, max=1.0, help="Between N₊ and N₋, 0 … 1.")]
TapName = Annotated[str | None, typer.Option(help="Tap or stage of the maps [default: the deepest stage].")]
Alpha = Annotated[float, typer.Option(min=0.0, help="Weight of the mining loss, ≥ 0.")]
Masks = Annotated[int, typer.Option(min=0, help="Pictures, drawn by chance, whose masks are used (GAIN_ext); 0: GAIN.")]
Weight = Annotated[float, typer.Option(min=0.0, help="Weight of the extra supervision, ≥ 0.")]
Omega = Annotated[float, typer.Option(min=0.001, help="ω of the soft mask, > 0.")]
Tau = Annotated[float, typer.Option(min=0.0, max=1.0, help="τ of the soft mask, 0 … 1.")]
Score = Annotated[str, typer.Option(help='What is mined: "probability" or "logit".')]
Fill = Annotated[str, typer.Option(help="In the place of what is erased: grey, or (picture) that of another one.")]


@app.command()
@with_options
def classifier(options: Options, dataset: Dataset, out: Out = Path("camwidgets-run"), net: Net = "attention") -> None:
    """Classification alone: what the others are compared with."""

    @contextmanager
    def setup(data: Labelled) -> Iterator[Setup]:
        from camwidgets.learning.classification import ClassifierObjective

        yield network(net, data, options.seed), ClassifierObjective()

    run(dataset, out, options, setup)


@app.command()
@with_options
def oaa(
    options: Options, dataset: Dataset, out: Out = Path("camwidgets-run"), rule: Rule = "max",
    store: Store = "float16", drop: Drop = False, drop_threshold: Threshold = 0.6, drop_rate: DropRate = 0.5,
    drop_where: DropWhere = "picture", begin: Begin = 1, labels: Labels = "multi-label",
) -> None:  # fmt: skip
    """Online attention accumulation: classification, and each picture's maps gathered while the net learns."""

    @contextmanager
    def setup(data: Labelled) -> Iterator[Setup]:
        from camwidgets.learning.accumulate import AttentionAccumulator
        from camwidgets.learning.classification import map_size
        from camwidgets.learning.drop import AttentionDrop
        from camwidgets.learning.oaa import OAAObjective

        check_kind(data, labels)
        module = network("attention", data, options.seed)
        layer = AttentionDrop(drop_threshold, drop_rate, drop_where) if drop else None
        size, run_folder = map_size(module, len(data.classes), data.size), out.expanduser()
        inside = run_folder / "accumulated"
        new = not inside.exists()
        kept = AttentionAccumulator(inside, data.ids, data.classes, size, rule, store)
        try:
            with kept:
                yield module, OAAObjective(kept, layer, labels, begin)
        finally:
            if new and not (run_folder / "last.pt").exists():  # refused: it must not stand in the next one's way
                shutil.rmtree(inside, ignore_errors=True)

    run(dataset, out, options, setup)


@app.command()
@with_options
def integral(
    options: Options, dataset: Dataset, maps: MapsFolder, out: Out = Path("camwidgets-run"), loss: Loss = "hybrid",
    threshold: Between = 0.0,
) -> None:  # fmt: skip
    """The integral model (OAA⁺): a net of its own learns the maps that `train oaa` accumulated of the same pictures."""

    @contextmanager
    def setup(data: Labelled) -> Iterator[Setup]:
        from camwidgets.learning.oaa import IntegralObjective

        inside = maps / "accumulated"
        found = IntegralObjective(inside if inside.is_dir() else maps, loss, threshold)
        yield network("attention", data, options.seed), found

    run(dataset, out, options, setup)


@app.command()
@with_options
def gain(
    options: Options, dataset: Dataset, out: Out = Path("camwidgets-run"), net: Net = "attention",
    tap: TapName = None, alpha: Alpha = 1.0, masks: Masks = 0, weight: Weight = 10.0, omega: Omega = 10.0,
    tau: Tau = 0.5, score: Score = "probability", fill: Fill = "grey",
) -> None:  # fmt: skip
    """Guided attention: where the net looks is trained too, by mining and (with --masks) by a few masks."""

    @contextmanager
    def setup(data: Labelled) -> Iterator[Setup]:
        from camwidgets.classifiers import wrap
        from camwidgets.learning.gain import GainObjective

        module = network(net, data, options.seed)
        where = tap or list(wrap(module, input_size=data.size).stages)[-1]
        extra = None
        if masks:
            data.need_masks()
            if masks > len(data):
                raise ValueError(f"--masks {masks} asks for more pictures than {data.name} has, {len(data)}")
            extra = data.limit(masks, options.seed).ids
        yield module, GainObjective(
            where, alpha=alpha, extra=extra, weight=weight, omega=omega, tau=tau, score=score, fill=fill
        )

    run(dataset, out, options, setup)


# ---------------------------------------------------------------------------------------------- what all of them do


def run(dataset: str, out: Path, options: Options, setup: Callable[[Labelled], AbstractContextManager[Setup]]) -> None:
    """Open the data, train, and say what came out; one sentence and exit status 1 for what cannot be done."""
    from camwidgets.learning.training import TrainingStopped, train

    out = out.expanduser()
    try:
        check_folder(out, options.resume)
        data = opened(dataset, options.limit, options.size, options.seed)
        judged = None if options.validation is None else opened(options.validation, None, options.size, 0)
        typer.echo(f"{data}")
        with setup(data) as (module, objective):
            made = train(module, data, objective, out, validation=judged, after_epoch=say, **options.training())
        end(made)
    except KeyboardInterrupt:  # before or after the training itself, which keeps what it has
        typer.secho("broken off before anything was trained", fg=typer.colors.RED, err=True)
        raise typer.Exit(130) from None
    except (ValueError, TypeError, OSError, ImportError, TrainingStopped) as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None


def check_folder(out: Path, resume: bool) -> None:
    """A run that lies there is gone on with only where that was asked for; asked for, it must be there."""
    there = any((out / name).is_file() for name in ("run.json", "last.pt"))  # a kill may leave the latter alone
    if there and not resume:
        raise ValueError(f"{str(out)!r} holds a run already: go on with it by --resume, or name another by --out")
    if resume and not there:
        raise ValueError(f"there is no run in {str(out)!r} to go on with; without --resume one begins")


def say(row: dict[str, float]) -> None:
    """A row of the table as a line."""
    from tqdm import tqdm

    parts = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name not in ("epoch", "seconds"))
    with tqdm.external_write_mode():
        typer.echo(f"epoch {row['epoch']:g}: {parts} ({row['seconds']:.0f} s)")


def end(made: Run) -> None:
    """Where the run lies, and how to look at it; exit status 130 if it was stopped."""
    epochs = f"{made.epochs_done} epoch{'s' * (made.epochs_done != 1)}"
    typer.echo(f"{made.status} after {epochs} -> {made.folder}")
    typer.echo(f"to look at it, in a notebook: camwidgets.Playback({str(made.folder)!r})")
    if made.status == "stopped":
        typer.secho("nothing is lost: the same command with --resume goes on", fg=typer.colors.YELLOW, err=True)
        raise typer.Exit(130)
