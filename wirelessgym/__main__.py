"""``python -m wirelessgym``."""

from wirelessgym.cli import main

main()
