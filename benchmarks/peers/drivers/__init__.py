"""One script a peer, run by the peer's own environment: `python NAME.py JOB`.

JOB is a JSON file: `case`, `weights`, `float` (the plain export), `calibration` (an .npz of arrays
named PLACE/INPUT), `out` (a folder). The script leaves `model.*` in the folder.
"""
