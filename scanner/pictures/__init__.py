"""Decode still pictures and animations, one file a family of formats; runs inside the sandbox alone."""
