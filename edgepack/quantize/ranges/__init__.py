"""Ranges of activations: one method a file."""
