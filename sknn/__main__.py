"""`python -m sknn`, which prints facts for a bug report and checks that the package works."""

from __future__ import annotations

import argparse
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from sknn import _environment

# The directories of a path of any system, without the name of the file. Within quotes, a path may
# contain spaces.
_DIRECTORIES = re.compile(
    r"""(?<=['"])(?:[A-Za-z]:|~)?[\\/](?:[^\\/'":]+[\\/])+
    |(?<![\w.])(?:[A-Za-z]:|~)?[\\/](?:[^\\/\s'":]+[\\/])+""",
    re.VERBOSE,
)


def _told(error: BaseException) -> str:
    """Describe an error in one line: what it is, and in which file and line, without paths."""
    what = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    what = _DIRECTORIES.sub("", what.replace(os.path.expanduser("~"), "~"))
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {what}{where}"


def _show(title: str, facts: Callable[[], dict[str, str]]) -> list[str]:
    """Print a section of facts, and return the titles of sections that have failed."""
    print(title)
    try:
        found = facts()
    except Exception as error:  # The rest of the report is still wanted.
        print(f"  FAILED: {_told(error)}")
        return [title]
    width = max(map(len, found), default=0)
    for name, value in found.items():
        print(f"  {name.ljust(width)}  {value}")
    return []


def _check() -> list[str]:
    """Run the self-check and print its results, and return the names of checks that have failed."""
    print("self-check")
    try:
        from sknn._self_check import checks

        to_do = checks()
    except Exception as error:  # Torch may fail to import, for example.
        print(f"  FAILED: {_told(error)}")
        return ["self-check"]
    failed = []
    for name, check in to_do.items():
        try:
            print(f"  {name}: {check()}", flush=True)
        except Exception as error:  # Any error is a result of the check.
            print(f"  {name}: FAILED: {_told(error)}", flush=True)
            failed.append(name)
    return failed


def main(arguments: list[str] | None = None) -> int:
    """Print the report.

    Returns
    -------
    int
        The exit status: 0 if all is well, 1 if anything has failed.
    """
    argparse.ArgumentParser(
        prog="python -m sknn",
        description="Print versions, devices and threads, and train on digits for a few seconds to"
        " check that everything works. The output contains no user names, host names or paths, so"
        " you can paste it into a bug report.",
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
    """Run `main`, whose output a pipe may cut off, as in `python -m sknn | head`."""
    try:
        code = main()
        print(end="", flush=True)
    except BrokenPipeError:
        # Python flushes the output once more when it exits, which would raise the same error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


if __name__ == "__main__":
    sys.exit(_run())
