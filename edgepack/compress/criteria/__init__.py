"""How much a channel matters: one criterion a file.

Each has `READS`, the splits that it may learn from in order of preference (none for most), and one
function ``scores(subject)``: for each group a score for each channel [channels]
as float64, the least of which go first, or None where the criterion cannot tell.
"""
