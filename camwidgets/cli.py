"""The command line: ``camwidgets lab | explain | doctor``.

Heavy imports (torch, JupyterLab) stay inside the commands, so that ``--help`` answers at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(
    help="See where a CNN looks, and why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """The entry point of the ``camwidgets`` command."""
    app(prog_name="camwidgets")


def fail(sentence: object) -> typer.Exit:
    """Say on stderr what went wrong; to be raised: ``raise fail("…")`` ends with exit status 1."""
    typer.secho(str(sentence), fg=typer.colors.RED, err=True)
    return typer.Exit(1)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"camwidgets {version('camwidgets')}")
        raise typer.Exit


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


def _line(check: Any) -> str:
    colours = {"ok": typer.colors.GREEN, "note": typer.colors.YELLOW, "wrong": typer.colors.RED}
    return f"{typer.style(f'{check.status:5}', fg=colours[check.status])} {check.name}: {check.detail}"


if __name__ == "__main__":
    main()
