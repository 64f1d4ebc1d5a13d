"""``python -m foldbook.cli``: the same as ``foldbook``."""

from foldbook.cli.main import main

main()
