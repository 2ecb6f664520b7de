"""Files that a tree explorer sends to the browser, in a thread of their own: a click on the tree is in nobody's way."""

from __future__ import annotations

from typing import Any

from ...errors import choose
from ..speaking import failure
from ..worker import Superseded, Ticket, Worker
from .asking import TreeAsking
from .export import FILES, export, file_name
from .work import Shown


class TreeFiling(TreeAsking):
    """The part of `TreeExplorer` that writes what was on screen when "Save" was pressed, one file after the other."""

    _filer: Worker[None]
    _files: list[tuple[str, Shown]]
    _filing = False  # whether the thread will still look into the list

    def _save(self, kind: str) -> None:
        if self._shown is None:
            raise RuntimeError("the tree explorer shows no tree yet")
        choose("file", kind, FILES)
        with self._worker.lock:
            self._files.append((kind, self._shown))
            self._tell_file("waiting for the file …")
            if not self._filing:
                self._filing = True
                self._filer.submit(None)

    def _write_files(self, _: None, ticket: Ticket) -> None:
        """In the thread of its own: until none is left."""
        while True:
            with self._worker.lock:
                if ticket.dropped:
                    return
                if not self._files:
                    self._filing = False
                    self._tell_file("")
                    return
                kind, shown = self._files.pop(0)
            try:
                self._write_file(kind, shown, ticket)
            except Superseded:
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, the user reads it in the head
                said = failure(error, "The tree stays as it was.")
                with self._worker.lock:
                    if not ticket.dropped:
                        self._mistaken(said)

    def _write_file(self, kind: str, shown: Shown, ticket: Ticket) -> None:
        def tell(text: str) -> None:
            with self._worker.lock:
                ticket.check()
                self._tell_file(text)

        tell("writing the file …")
        data, (ending, content) = export(kind, shown, self._maker, tell, self._sight), FILES[kind]
        with self._worker.lock:
            ticket.check()
            self.head.send({"kind": "file", "name": file_name(shown.tree, ending), "type": content}, data)

    def _no_files(self) -> None:
        """What is being written is not wanted any more."""
        with self._worker.lock:
            self._files.clear()
            self._filing = False
            self._filer.cancel()
            self._tell_file("")

    def _tell_file(self, text: str) -> None:
        self._say(lambda told: setattr(told, "file", text))

    def _sight(self, shown: Shown, number: int) -> dict[str, Any]:
        """What one node's channel sees, for a page: set by `TreeIndexing`."""
        raise NotImplementedError
