"""Let `python -m relay` be the `breakwater` command."""

from relay.cli import main

if __name__ == "__main__":
    main()
