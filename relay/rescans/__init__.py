"""Compare what was seen before with hash lists that came later, in the background."""
