"""How picture files are laid out: readers of structure that decode no pixel and trust no claim."""
