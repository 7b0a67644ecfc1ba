"""Scan ourselves, now and then and in secret, what a peer's word has spared us."""
