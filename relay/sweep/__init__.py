"""Look through what a server has already stored.

A source lists its files in an order of its own that stays, so that a sweep can go on where it stopped. Every
file is examined by the line. What follows is decided where it is decided for every door, and is done by the
backend's adapter alone: nothing here deletes or changes a file.
"""
