"""WordSim353, as gensim's wheel carries it: how alike people find two words, from 0 to 10."""

from importlib.util import find_spec
from pathlib import Path


def evaluation():
    """353 pairs of words, each with the mean of people's judgements."""
    package = find_spec("gensim").submodule_search_locations[0]
    table = Path(package) / "test" / "test_data" / "wordsim353.tsv"
    for line in table.read_text().splitlines():
        if not line.startswith("#"):
            left, right, score = line.split("\t")
            yield {"texts": [left, right], "score": float(score)}
