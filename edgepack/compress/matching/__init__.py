"""What of a student is held against its teacher; one loss a file.

Losses of answers take the student's and the teacher's first output, and which tokens are no
padding. Losses of what happens inside are modules, for they may hold projections that are trained
and thrown away: each file has a ``pairs`` that names what is held against what, and a class that is
made of the pairs and of what was seen of both once, and called with what is seen and that mask.
"""
