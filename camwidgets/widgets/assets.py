"""The front end as one text: the small modules of ``camwidgets/frontend`` joined in order of need.

There is no bundler: each part is a plain ES module, and joining them means dropping the ``import`` lines
that name another part and the word ``export`` before a declaration. What is left of ``export default`` in
the last part makes the result an ES module again.
"""

from __future__ import annotations

import posixpath
import re
from functools import cache
from importlib.resources import files

_IMPORT = re.compile(r'^import \{[^}]*\} from "(\.[\w./]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class)\b)", re.MULTILINE)


def part(name: str) -> str:
    """The text of one file of the front end; its name as seen from ``frontend``."""
    return (files("camwidgets") / "frontend" / name).read_text(encoding="utf-8")


@cache
def parts(entry: str) -> tuple[str, ...]:
    """The module and all that it imports, each after what it needs."""
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        for needed in _IMPORT.findall(part(name)):
            other = posixpath.normpath(posixpath.join(posixpath.dirname(name), needed))
            if other not in found:
                visit(other)
        found[name] = None

    visit(entry)
    return tuple(found)


@cache
def esm(entry: str) -> str:
    """One ES module. Of a view its default export is ``{render}``, as anywidget expects it."""
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", part(name))) for name in parts(entry))


@cache
def css(*names: str) -> str:
    """The style sheet that all views share, and these; only JupyterLab's variables, each with a fallback."""
    return "".join(map(part, ("base.css", *names)))
