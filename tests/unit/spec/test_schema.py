import re

import pytest

from edgepack.spec.schema import schema


@pytest.mark.parametrize("kind", ["recipe", "target"])
def test_its_name_is_stable_and_typos_are_refused(kind):
    document = schema(kind)
    assert document["$id"] == f"edgepack.{kind}/1"
    assert document["additionalProperties"] is False


def test_a_step_is_written_with_its_options_as_keys():
    step = schema("recipe")["$defs"]["Step"]
    assert list(step["properties"]) == ["pass"]
    assert step["required"] == ["pass"]
    assert step["additionalProperties"] is True


def test_a_target_has_a_table_of_gates():
    gates = schema("recipe")["$defs"]["GatesTable"]
    assert gates["additionalProperties"] == {"$ref": "#/$defs/Gates"}


@pytest.mark.parametrize(("key", "text"), [("size", "6 MB"), ("instructions", "1.5G")])
def test_a_quantity_may_be_a_number_or_a_string(key, text):
    number, string = schema("target")["$defs"]["Gates"]["properties"][key]["anyOf"]
    assert number["type"] == "integer"
    assert re.search(string["pattern"], text)
    assert not re.search(string["pattern"], "6 mb")
