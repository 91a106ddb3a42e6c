"""The command `rankclip`, also `python -m rankclip`.

The package alone (objectives, for any trainer) has the command as well but not what it needs.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point."""
    try:
        from rankclip import cli
    except ModuleNotFoundError as error:
        if (error.name or "rankclip").partition(".")[0] == "rankclip":
            raise
        sys.stderr.write(
            f"rankclip: error: the command needs {error.name}, which is not installed; "
            "pip install 'rankclip[pipeline]'\n"
        )
        sys.exit(2)
    cli.main()


if __name__ == "__main__":
    main()
