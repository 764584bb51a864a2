"""Weights alone in fewer bits: one method a file."""
