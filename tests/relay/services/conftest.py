"""The scanner that the stages are tried with."""

from tests.relay.stages.conftest import scanner

__all__ = ["scanner"]
