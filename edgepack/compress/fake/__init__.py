"""Quantisation that is played while a model trains: where, of what, and how it ends."""
