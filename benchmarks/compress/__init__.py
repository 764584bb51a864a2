"""What each technique does on scikit-learn's digits: one technique a file.

A file has ``BARS`` and ``measure(seed)``, which returns numbers by name for one seed.
"""
