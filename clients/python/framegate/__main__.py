"""``python -m framegate serve ...`` runs the program that the wheel carries."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig


def program() -> str | None:
    """Where it is: what ``FRAMEGATE`` says, beside this interpreter, where ``pip --user`` puts it, or on the path."""
    named = os.environ.get("FRAMEGATE")
    if named:
        return named
    schemes = [sysconfig.get_path("scripts"), os.path.dirname(sys.executable)]
    if hasattr(sysconfig, "get_preferred_scheme"):
        schemes.append(sysconfig.get_path("scripts", sysconfig.get_preferred_scheme("user")))
    for folder in schemes:
        path = os.path.join(folder, "framegate")
        if os.access(path, os.X_OK):
            return path
    return shutil.which("framegate")


def main() -> None:
    """Becomes the program: signals, exit code and standard streams are its own."""
    path = program()
    if path is None:
        sys.exit("framegate: the program is not installed beside this Python: pip install framegate")
    try:
        os.execv(path, [path, *sys.argv[1:]])
    except OSError as why:
        sys.exit(f"framegate: cannot run {path}: {why}")


if __name__ == "__main__":
    main()
