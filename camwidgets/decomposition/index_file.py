"""The SQLite file of an index of patches: opened, its tables made, what is wrong with it told in a sentence."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

SCHEMA = 2  # 1: paths as text, which a name that is no UTF-8 is not


def cache_folder() -> Path:
    """Where indexes are kept: $XDG_CACHE_HOME/camwidgets or ~/.cache/camwidgets."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "camwidgets"


@contextmanager
def opened(file: Path) -> Iterator[sqlite3.Connection]:
    """A connection for one piece of work, which is kept when the block ends well.

    Raises:
        ValueError: the file is damaged, or cannot be used (locked, no room, no permission).
    """
    try:
        with closing(sqlite3.connect(file, timeout=30)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            yield db
            db.commit()
    except sqlite3.OperationalError as error:
        raise ValueError(f"the index {str(file)!r} cannot be used: {error}") from error
    except sqlite3.DatabaseError as error:
        raise ValueError(
            f"the index {str(file)!r} is damaged ({error}); delete this file: the index is then built anew"
        ) from error


def prepare(db: sqlite3.Connection, file: Path) -> None:
    """Make the tables where there are none; refuse a file of a newer version."""
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > SCHEMA:
        raise ValueError(f"the index {str(file)!r} was made by a newer version (schema {version}; this one: {SCHEMA})")
    db.executescript(
        "CREATE TABLE IF NOT EXISTS pictures (path BLOB PRIMARY KEY, size INTEGER, time INTEGER, error TEXT);"
        "CREATE TABLE IF NOT EXISTS responses"
        " (tap TEXT, path BLOB, peaks BLOB, places BLOB, PRIMARY KEY (tap, path));"
        f"PRAGMA user_version = {SCHEMA}"
    )
