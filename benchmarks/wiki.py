"""Wikipedia articles that the package gensim carries, as plain text; gensim is not imported."""

from __future__ import annotations

import bz2
import html
import re
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

DUMP = "test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
PAGE = re.compile(r"<text[^>]*>(.*?)</text>", re.DOTALL)
LEAVES = (
    (r"<!--.*?-->", ""),
    (r"<ref[^>]*/>|<ref.*?</ref>|<math.*?</math>|<gallery.*?</gallery>", ""),
    (r"<[^>]+>", ""),
)
INNERMOST = (r"\{\{[^{}]*\}\}", r"\{\|[^{}]*\|\}", r"\[\[(?:File|Image|Category):[^\[\]]*\]\]")
LINKS = (
    (r"\[\[(?:[^\[\]|]*\|)?([^\[\]|]*)\]\]", r"\1"),
    (r"\[https?://\S+ ?([^\]]*)\]", r"\1"),
    (r"'{2,}", ""),
)
SHORTEST = 2000


def articles(count: int) -> list[str]:
    """Return the first articles that are more than redirections, a paragraph a line."""
    found = find_spec("gensim")
    assert found is not None
    assert found.submodule_search_locations
    with bz2.open(Path(found.submodule_search_locations[0]) / DUMP, "rt", encoding="utf-8") as dump:
        pages = (plain(html.unescape(page)) for page in PAGE.findall(dump.read()))
        return list(islice((text for text in pages if len(text) > SHORTEST), count))


def plain(markup: str) -> str:
    """Return what a reader sees of a page: its sentences, without tables, lists and headings."""
    for pattern, by in LEAVES:
        markup = re.sub(pattern, by, markup, flags=re.DOTALL)
    for pattern in INNERMOST:
        before = ""
        while before != markup:
            before, markup = markup, re.sub(pattern, "", markup)
    for pattern, by in LINKS:
        markup = re.sub(pattern, by, markup)
    lines = (html.unescape(line).strip() for line in markup.splitlines())
    return "\n".join(line for line in lines if len(line) > 80 and line[0] not in "*#:;|!{=")
