"""What a tree explorer's head says: the tree's request, files being written, and a mistake, each without the others."""

from __future__ import annotations

from typing import Any

IDLE = {"state": "idle"}


class Telling:
    """Puts together what three speakers say; the head shows `status`.

    `view` is the newest request's own status (idle, working, error), `mistake` an act that was refused (an error; kept
    until the next act, whatever else is answered meanwhile), `file` what is being written ("" = nothing).
    """

    def __init__(self) -> None:
        self.view: dict[str, Any] = dict(IDLE)
        self.mistake: dict[str, Any] | None = None
        self.file = ""

    @property
    def problem(self) -> dict[str, Any] | None:
        """What went wrong last, as an error's status, or None."""
        return self.mistake or (self.view if self.view["state"] == "error" else None)

    @property
    def status(self) -> dict[str, Any]:
        """{state: idle, working or error, …}; while something works, an error is its `problem`."""
        words = self.view["text"] if self.view["state"] == "working" else self.file
        if not words:
            return self.problem or dict(IDLE)
        return {"state": "working", "text": words, **({"problem": self.problem} if self.problem else {})}

    def forget(self) -> None:
        """What went wrong is said no more: something new was asked for."""
        self.mistake = None
        if self.view["state"] == "error":
            self.view = dict(IDLE)
