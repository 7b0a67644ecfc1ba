"""A bounded run of mutated files through the real scanner; `python -m tests.fuzz --help`."""
