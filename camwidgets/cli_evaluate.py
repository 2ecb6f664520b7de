"""``camwidgets evaluate``: the command, apart from the other commands because it has a language for methods."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from camwidgets.evaluation import Report

METHODS = ("layercam", "gradcam", "gradcam++", "xgradcam", "centre", "random")
# Named here, since `--help` must not wait for torch; a test holds them to `camwidgets.measures()`.
TESTS = (
    "insertion-deletion", "perturbation", "occlusion", "confidence", "pointing", "energy", "localisation",
    "segmentation", "best-iou", "cascading", "independent",
)  # fmt: skip
TEST_HELP = (
    'Such as "energy", "insertion-deletion:steps=28", "cascading:layers=head+S5,seed=1". There are: '
    f"{', '.join(TESTS)}."
)
FLAGS = {"enhance": True}


def evaluate(
    dataset: Annotated[str, typer.Argument(help='A folder of pictures, an annotation file, or "toyworld".')],
    model: Annotated[str, typer.Option(help="A network by name.")] = "efficientnet_lite0",
    weights: Annotated[
        str, typer.Option(help='"DEFAULT", "none" (random), or a .safetensors or .pth file.')
    ] = "DEFAULT",
    method: Annotated[
        list[str] | None,
        typer.Option(help='Such as "layercam", "gradcam:stages=S4+S5,gradient=positive", "rise:masks=500,enhance".'),
    ] = None,
    test: Annotated[
        list[str] | None,
        typer.Option(help=TEST_HELP),
    ] = None,
    target: Annotated[str, typer.Option(help='The class explained: "label" or "predicted".')] = "label",
    fit: Annotated[
        str, typer.Option(help='"squash" shows the network the whole picture, "crop" its middle.')
    ] = "squash",
    limit: Annotated[int | None, typer.Option(min=1, help="So many pictures, drawn by chance.")] = None,
    mosaics: Annotated[int | None, typer.Option(min=1, help="On so many 2×2 mosaics of the pictures instead.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn by chance.")] = 0,
    results: Annotated[
        Path | None, typer.Option(help="File that keeps every outcome; the same command goes on with it.")
    ] = None,
    against: Annotated[
        int | None, typer.Option(min=1, help="Compare with this run of the file of results: what differs, how much.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(help="Write one row a picture, method and result.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write a page with table, figures and comparisons.")] = None,
    engine: Annotated[str, typer.Option(help='"local", or "ray": many processes or machines.')] = "local",
    workers: Annotated[int, typer.Option(min=1, help='Processes of engine "ray".')] = 2,
    batch: Annotated[int | None, typer.Option(min=1, help="Pictures a pass [default: as memory allows].")] = None,
    plan: Annotated[
        int | None, typer.Option(min=1, help="Evaluate nothing: time five pictures, say what so many would take.")
    ] = None,
) -> None:
    """How good are maps? Methods × tests over a data set, with 95 % intervals.

    `python -c "import camwidgets; print(camwidgets.measures())"` prints each test's formula, source and parameters.
    What is broken off (Ctrl-C, a crash) goes on where it was, if --results names a file.
    """
    from camwidgets.classifiers import load
    from camwidgets.datasets import open_dataset
    from camwidgets.evaluation import ResultsError, evaluate, forecast
    from camwidgets.evaluation.mosaics import mosaics as made_of

    try:
        for path in (csv, html):
            if path is not None and not path.expanduser().parent.is_dir():
                raise ValueError(f"there is no folder {str(path.parent)!r} to write {path.name!r} to")
        before = _run(results, against)
        classifier = load(model, None if weights.casefold() == "none" else weights)
        items = open_dataset(dataset)
        if mosaics is not None:
            items = made_of(classifier, items, mosaics, seed=seed)
        asked = [parsed(one) for one in method or METHODS], dict(_test(one) for one in test or ["insertion-deletion"])
        how: dict[str, Any] = {"target": target, "fit": fit, "seed": seed, "workers": workers, "batch": batch}
        if plan is not None:
            typer.echo(forecast(classifier, items, *asked, pictures=plan, **how).to_text())
            return
        report = evaluate(classifier, items, *asked, limit=limit, results=results, engine=engine, **how)
        _write(report, csv, html)
        if before is not None:
            typer.echo(f"\n{report.against(before)}")
    except KeyboardInterrupt:
        kept = f"the same command goes on with {results}" if results else "--results FILE would have kept what was done"
        typer.secho(f"broken off; {kept}", fg=typer.colors.RED, err=True)
        raise typer.Exit(130) from None
    except (ValueError, TypeError, OSError, ImportError, ResultsError) as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None


def _run(results: Path | None, number: int | None) -> Report | None:
    """The run to compare with, read before anything runs."""
    from camwidgets.evaluation import Report

    if number is None:
        return None
    if results is None:
        raise ValueError("--against names a run of the file that --results names; no --results was given")
    return Report.open(results, number)


def _write(report: Report, csv: Path | None, html: Path | None) -> None:
    typer.echo(report.to_text())
    if csv is not None:
        typer.echo(f"-> {report.to_csv(csv)}")
    if html is not None:
        typer.echo(f"-> {report.to_html(html)}")


def parsed(text: str) -> dict[str, Any]:
    """A method with its options, as `evaluate` takes them.

    Example:
        >>> parsed("layercam:stages=S3+S5,gradient=signed,enhance")
        {'method': 'layercam', 'stages': ['S3', 'S5'], 'gradient': 'signed', 'enhance': True}
    """
    name, _, rest = text.partition(":")
    options: dict[str, Any] = {"method": name.strip()}
    for part in filter(None, (piece.strip() for piece in rest.split(","))):
        key, equals, value = part.partition("=")
        if not equals and key not in FLAGS:
            raise ValueError(f"{part!r} in {text!r} is not of the form name=value")
        options[key] = (value.split("+") if key == "stages" else _value(value)) if equals else FLAGS[key]
    return options


def _test(text: str) -> tuple[str, dict[str, Any]]:
    options = parsed(text)
    return options.pop("method"), options


def _value(text: str) -> Any:
    """A number or a switch, if it reads as one; else the text."""
    if text.casefold() in ("true", "false"):
        return text.casefold() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
