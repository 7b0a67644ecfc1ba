"""Turn bytes into a report; see bytes, never URLs."""
