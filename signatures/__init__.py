"""Verify and make signatures over HTTP messages and JSON documents; no input, no output, no clock."""
