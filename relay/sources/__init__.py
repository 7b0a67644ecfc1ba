"""Fetch lists that others make, keep them up to date, and take back what their makers take back."""
