"""Proof: how good, how faithful and how right an artifact is, and the one judge of it all."""
