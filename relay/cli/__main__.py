"""Let `python -m relay.cli` do what `breakwater` does."""

from relay.cli import main

main(prog_name="breakwater")
