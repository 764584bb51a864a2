"""Every target loads, names real channels and keeps its own promises."""

import tomllib
from pathlib import Path
from typing import get_args

import pytest

from edgepack.devices.cpus import CPUS
from edgepack.devices.local import FEATURES
from edgepack.devices.open import open_channel
from edgepack.spec.gates import Gates
from edgepack.spec.target import (
    Feature,
    IsaTable,
    PackageTable,
    QuantizeTable,
    RewritesTable,
    RuntimeTable,
    Target,
    folder,
    load_target,
    names,
)


@pytest.fixture(params=names())
def target(request):
    return load_target(request.param)


def test_those_of_the_readme_are_there():
    named = {"arm64", "arm64-dotprod", "mobile", "x86", "x86-vnni", "x86-amx", "x86-openvino"}
    assert named <= set(names())


def test_its_channels_can_be_opened(target):
    assert target.verify
    for name in target.verify:
        channel = open_channel(
            name, runtime=target.runtime.version, offline=True, announce=lambda _: None
        )
        channel.close()


def test_float_is_always_a_way_out(target):
    assert target.quantize.schemes[-1] == "float"


def test_what_saturates_is_quantised_safely(target):
    safe = target.quantize.weight_type == "u8" or target.quantize.reduce_range
    assert safe or not target.isa.saturates


def test_it_verifies_with_a_version_that_it_allows(target):
    versions = [target.runtime.minimum, target.runtime.version]
    parts = [tuple(map(int, v.split("."))) for v in versions]
    assert parts == sorted(parts)


def test_its_features_are_words_that_devices_report():
    assert set(get_args(Feature)) == set(FEATURES.values())


def test_the_emulated_processor_has_what_may_be_used(target):
    cpu = CPUS[target.isa.emulate]
    assert cpu.arch == target.isa.arch
    emulated = any(name.startswith("qemu") for name in target.verify)
    assert not emulated or set(target.isa.features) <= set(cpu.features)


@pytest.mark.parametrize("name", names())
def test_it_differs_from_what_it_extends_and_knows_no_other_keys(name):
    raw = tomllib.loads((folder() / f"{name}.toml").read_text())
    assert set(raw) <= set(Target.model_fields)
    if below := raw.get("extends"):
        assert load_target(name) != load_target(below)


def test_every_key_is_described_and_documented():
    page = (Path(__file__).parents[2] / "docs/target.md").read_text()
    tables = [Target, IsaTable, RuntimeTable, QuantizeTable, RewritesTable, PackageTable, Gates]
    for table in tables:
        for key, field in table.model_fields.items():
            assert field.description or hasattr(field.annotation, "model_fields"), key
            assert f"`{key}`" in page or f"`[{key}]`" in page, key
