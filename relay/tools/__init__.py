"""What stages are given as arguments: the tools that reach outside, each behind its bounds."""
