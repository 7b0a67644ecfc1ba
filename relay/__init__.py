"""The trunk of Breakwater: doors, the line, and what runs it."""
