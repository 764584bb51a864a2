"""Pages that are generated hold what the code says."""

from pathlib import Path

from edgepack.api.causes import causes
from edgepack.cli import VERBS, errors, targets
from edgepack.spec.target import load_target, names

ROOT = Path(__file__).parents[2]


def test_the_page_of_errors_is_current():
    """Write it with `edgepack errors --format markdown > docs/errors.md`."""
    assert (ROOT / "docs" / "errors.md").read_text() == errors.markdown(causes())


def test_the_readme_s_table_of_targets_is_current():
    """Paste what `edgepack targets --format markdown` prints."""
    table = targets.markdown({name: load_target(name) for name in names()})
    assert table in (ROOT / "README.md").read_text()


def test_the_readme_names_every_verb():
    text = (ROOT / "README.md").read_text()
    assert [verb for verb in VERBS if f"edgepack {verb}" not in text] == []


def test_every_page_is_linked_from_the_readme():
    text = (ROOT / "README.md").read_text()
    assert [p.name for p in (ROOT / "docs").glob("*.md") if f"docs/{p.name}" not in text] == []
