"""`python -m sknn`: what to put into the report of a bug, and whether the package works here."""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from sknn import _environment

# The directories of a path, of any system: all but the name of the file.
# Spaces belong to it only within quotes.
_DIRECTORIES = re.compile(
    r"""(?<=['"])(?:[A-Za-z]:|~)?[\\/](?:[^\\/'":]+[\\/])+
    |(?<![\w.])(?:[A-Za-z]:|~)?[\\/](?:[^\\/\s'":]+[\\/])+""",
    re.VERBOSE,
)


def _told(error: BaseException) -> str:
    """An error in a line: what it is, and in which file and line, without paths."""
    what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    what = _DIRECTORIES.sub("", what.replace(os.path.expanduser("~"), "~"))
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {what}{where}"


def _show(title: str, facts: Callable[[], dict[str, str]]) -> list[str]:
    """Print a section; return what has failed."""
    print(title)
    try:
        found = facts()
    except Exception as error:  # the rest of the report is wanted all the same
        print(f"  FAILED: {_told(error)}")
        return [title]
    width = max(map(len, found), default=0)
    for name, value in found.items():
        print(f"  {name.ljust(width)}  {value}")
    return []


def _check() -> list[str]:
    """Run the self-check and print what comes of it; return what has failed."""
    print("self-check")
    try:
        from sknn._self_check import checks

        to_do = checks()
    except Exception as error:  # torch cannot be imported, for one
        print(f"  FAILED: {_told(error)}")
        return ["self-check"]
    failed = []
    for name, check in to_do.items():
        try:
            print(f"  {name}: {check()}", flush=True)
        except Exception as error:  # whatever it is, it is what the check is for
            print(f"  {name}: FAILED: {_told(error)}", flush=True)
            failed.append(name)
    return failed


def main(arguments: list[str] | None = None) -> int:
    """Print the report.

    Returns
    -------
    int
        0 if all is well, 1 if anything has failed.
    """
    argparse.ArgumentParser(
        prog="python -m sknn",
        description="Print versions, devices and threads, and train on digits for a few seconds to"
        " see whether all works. The output has no names and paths: paste it into a report.",
    ).parse_args(arguments)
    sections = {
        "system": _environment.system,
        "packages": lambda: _environment.versions_of(_environment.REQUIRED),
        "optional packages": lambda: _environment.versions_of(_environment.OPTIONAL),
        "devices and their precisions": _environment.devices,
        "threads": _environment.threads,
    }
    failed = [name for title, facts in sections.items() for name in _show(title, facts)]
    failed += _check()
    print("ok" if not failed else f"failed: {', '.join(failed)}")
    return int(bool(failed))


def _run() -> int:
    """`main`, of which nobody may read the end: `python -m sknn | head` has seen enough."""
    try:
        code = main()
        print(end="", flush=True)
    except BrokenPipeError:
        # Python flushes once more when it ends, and would tell of the same error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


if __name__ == "__main__":
    sys.exit(_run())
