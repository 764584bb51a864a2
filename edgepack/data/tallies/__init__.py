"""Tallies: each takes in a model's answers sample by sample and makes one number of them."""
