"""Runs in the guest: writes numbered rows, one transaction each, or counts what is left after a power cut.

sqlite_rows.py write DATABASE FULL|NORMAL   prints each number once its row is committed, for ever
sqlite_rows.py count DATABASE               prints {"check": .., "rows": ..}; the rows are 1, 2, 3 ... without a gap
"""

import itertools
import json
import os
import sqlite3
import sys


def write(path: str, synchronous: str) -> None:
    """Commit row after row until the power goes."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode=WAL")
    database.execute(f"PRAGMA synchronous={synchronous}")
    database.execute("CREATE TABLE rows (number INTEGER PRIMARY KEY, content BLOB)")
    os.sync()  # the empty database is there whatever happens next
    for number in itertools.count(1):
        database.execute("INSERT INTO rows VALUES (?, ?)", (number, os.urandom(500)))
        print(number, flush=True)


def count(path: str) -> None:
    """Say how many rows are there, and whether the database is whole."""
    database = sqlite3.connect(path)
    [[check]] = database.execute("PRAGMA integrity_check")
    numbers = [number for [number] in database.execute("SELECT number FROM rows ORDER BY number")]
    assert numbers == list(range(1, len(numbers) + 1)), "a row is missing between others"
    print(json.dumps({"check": check, "rows": len(numbers)}))


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], sys.argv[3])
    else:
        count(sys.argv[2])
