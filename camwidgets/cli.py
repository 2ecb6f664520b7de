"""The command line: ``camwidgets lab | explain | methods | evaluate | train | doctor``.

Heavy imports (torch, JupyterLab) stay inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from camwidgets.cli_evaluate import evaluate
from camwidgets.cli_train import app as train

if TYPE_CHECKING:
    from camwidgets.batch import Settings
    from camwidgets.doctor import Check
    from camwidgets.maps import Method

EMBEDDED = "efficientnet_lite0"

app = typer.Typer(
    help="See where a CNN looks, and why.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The entry point of the ``camwidgets`` command."""
    app(prog_name="camwidgets")


def fail(sentence: object) -> typer.Exit:
    """Say on stderr what went wrong. The result is to be raised where that ends the program, with exit status 1."""
    typer.secho(str(sentence), fg=typer.colors.RED, err=True)
    return typer.Exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"camwidgets {version('camwidgets')}")
        raise typer.Exit


app.command()(evaluate)
app.add_typer(train, name="train")


@app.callback()
def camwidgets(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """See where a CNN looks, and why."""


@app.command()
def lab(
    directory: Annotated[
        Path, typer.Option("--dir", help="Where to work; the notebooks are copied here if absent.")
    ] = Path(),
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to serve on [default: free, from 8888].")
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the address.")] = False,
) -> None:
    """Open JupyterLab on the first notebook.

    The notebooks are copied to a folder "notebooks" where you are, each only if it is not there: your edits
    stay. Inside a checkout of camwidgets its own notebooks are opened.
    """
    from camwidgets.lab import lab_arguments, prepare, serve

    try:
        root, copies = prepare(directory)
    except OSError as error:
        raise fail(error) from None
    for copy in copies:
        typer.echo(f"copied {copy.relative_to(root)}")
    serve(lab_arguments(root, port=port, browser=not no_browser))


class _ListsMethods(TyperCommand):
    """Its help names the methods of the catalogue, which is read when somebody asks."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from camwidgets.maps import methods

        for option in self.params:
            if option.name == "method":
                option.help = f"{', '.join(methods())} (`camwidgets methods NAME` describes one)."  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)


@app.command(cls=_ListsMethods)
def explain(
    pictures: Annotated[list[Path], typer.Argument(help="Picture files.", show_default=False)],
    model: Annotated[str, typer.Option(help="A network by name; resnet50 and the like are downloaded.")] = EMBEDDED,
    weights: Annotated[
        str, typer.Option(help='"DEFAULT", "none" (random), or a .safetensors or .pth file.')
    ] = "DEFAULT",
    target: Annotated[
        str | None, typer.Option("--class", help="Class index or label [default: the top class].")
    ] = None,
    method: Annotated[str, typer.Option(help="A name that `camwidgets methods` lists.")] = "layercam",
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A parameter of the method, such as samples=200; repeat it."),
    ] = None,
    enhance: Annotated[bool, typer.Option("--enhance", help="Enhance the map with sliding windows (slower).")] = False,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Pictures a forward pass [default: as memory allows].")
    ] = None,
    stages: Annotated[str | None, typer.Option(help="Such as S3,S5 [default: as published for the method].")] = None,
    sign: Annotated[
        str | None, typer.Option(help="Gradients: positive, signed, absolute or negative [default: as published].")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="How stages are fused, such as paper or torchcam.")] = None,
    out: Annotated[Path, typer.Option(help="Where a folder for each picture is made.")] = Path("camwidgets-output"),
) -> None:
    """Explain picture files.

    For each picture a folder is written: overlay.png (what to look at), explorer.html (the same with live controls,
    opens in any browser; for methods that run the network again, overlay.html), explanation.json, maps.npz and
    picture.png (to load again, Explanation.load).

    A picture that cannot be read gives one line and the next one follows; exit status 1 if there was any. Ctrl-C
    leaves what is done.
    """
    from camwidgets.batch import Settings
    from camwidgets.classifiers import load
    from camwidgets.maps.catalogue import find

    try:
        found = find(method)
        parameters = _parameters(found, given or [])
        classifier = load(model, None if weights.casefold() == "none" else weights)
        wanted = int(target) if target and target.isdecimal() else target
        names = None if stages is None else tuple(name.strip() for name in stages.split(",") if name.strip())
        settings = Settings(
            classifier, found.name, wanted, names, sign, preset=preset, parameters=parameters, enhance=enhance,
            batch=batch,
        )  # fmt: skip
    except (ValueError, TypeError, OSError) as error:
        raise fail(error) from None
    failed = _explain_all(pictures, out, settings)
    if failed:
        raise fail(f"{failed} of {len(pictures)} pictures failed.")


def _parameters(method: Method, given: list[str]) -> dict[str, Any]:
    """NAME=VALUE texts to checked values, each in its parameter's own type."""
    texts: dict[str, str] = {}
    for one in given:
        name, equals, text = (part.strip() for part in one.partition("="))
        if not equals or not name:
            raise ValueError(f"--set takes NAME=VALUE, such as --set samples=200; got {one!r}")
        texts[name] = text
    types = {parameter.name: type(parameter.default) for parameter in method.parameters}
    values = {name: _value(types[name], text) if name in types else text for name, text in texts.items()}
    checked = method.check(values)
    return {name: checked[name] for name in values}


def _value(kind: type, text: str) -> Any:
    """The text as a value of that type, or as it is: the parameter then says what it should be."""
    if kind is bool:
        return {"true": True, "yes": True, "false": False, "no": False}.get(text.casefold(), text)
    try:
        return kind(text)
    except ValueError:
        return text


def _explain_all(pictures: list[Path], out: Path, settings: Settings) -> int:
    """Explain each picture, say a line each, and return how many failed."""
    from tqdm import tqdm

    from camwidgets.batch import folders, write_explanation

    failed = 0
    pairs = list(zip(pictures, folders(pictures, out), strict=True))
    # The bar is drawn at a terminal only, and never for a single picture.
    whole = tqdm(pairs, unit="picture", disable=True if len(pairs) == 1 else None)
    for i, (picture, folder) in enumerate(whole):
        try:
            with tqdm(unit="step", leave=False, disable=None, desc=picture.name, delay=1) as bar:
                made = write_explanation(picture, folder, settings, partial(_move, bar))
        except (ValueError, OSError, RuntimeError) as error:
            failed += 1
            with tqdm.external_write_mode():
                fail(f"{picture}: {_one_line(error)}")
            continue
        except KeyboardInterrupt:
            whole.close()
            fail(f"stopped: {i} of {len(pairs)} pictures were dealt with before {picture}.")
            raise typer.Exit(130) from None
        said = f" (the map is {made.reason})" if made.reason else ""
        with tqdm.external_write_mode():
            typer.echo(f"{picture}: {made.label} {made.probability:.1%}{said} -> {folder}")
    return failed


def _move(bar: Any, done: float, total: float) -> None:
    bar.total = total
    bar.n = done
    bar.refresh()


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


@app.command()
def methods(
    name: Annotated[str | None, typer.Argument(help="One method, with its parameters.", show_default=False)] = None,
) -> None:
    """List the methods, or describe one: formula, source, what it needs, parameters."""
    from camwidgets.maps import methods as catalogue
    from camwidgets.maps.catalogue import find

    try:
        typer.echo(repr(catalogue()) if name is None else find(name).about())
    except ValueError as error:
        raise fail(error) from None


@app.command()
def doctor() -> None:
    """Check this installation: what works, what is wrong, and how to mend it.

    Exit status 1 when something that camwidgets cannot do without is wrong.
    """
    from camwidgets.doctor import run_checks

    wrong = 0
    for check in run_checks():
        typer.echo(_line(check))
        if check.mend:
            typer.echo(f"{'':6}to mend: {check.mend}")
        wrong += check.status == "wrong"
    if wrong:
        raise fail(f"{wrong} {'thing is' if wrong == 1 else 'things are'} wrong.")
    typer.echo("All is well.")


def _line(check: Check) -> str:
    colours = {"ok": typer.colors.GREEN, "note": typer.colors.YELLOW, "wrong": typer.colors.RED}
    return f"{typer.style(f'{check.status:5}', fg=colours[check.status])} {check.name}: {check.detail}"


if __name__ == "__main__":
    main()
