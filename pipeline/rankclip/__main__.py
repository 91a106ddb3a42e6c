"""`python -m rankclip`."""

from rankclip.cli import main

main()
