"""int8 that is right on one x86 and wrong on another."""

import pytest

from edgepack.api.use import verify

from .conftest import build

STEPS = (
    'steps=[{pass="prune", ratio=0.5}, {pass="finetune", epochs=4}, '
    '{pass="quantize", scheme="w8a8-static"}]'
)


@pytest.fixture
def made_for_vnni(tmp_path):
    """An artifact of u8 x s8 products over the whole range; not written unless forced."""
    import edgepack.api as api
    from edgepack.api.run import execute

    request = api.Request(model="builtin:digits", targets=("x86-vnni",), overrides=(STEPS,))
    execute(api.prepare(request), out=tmp_path, force=True)
    return tmp_path / "digits-x86-vnni.edgepack"


@pytest.mark.emulated
def test_saturating_products_are_caught_on_the_processor_that_saturates(made_for_vnni):
    report = verify(made_for_vnni, on=("qemu:Haswell",))
    device = report.targets[0].devices[0]
    assert report.verdict == "fail"
    assert device.exact is False
    assert "golden vectors are not equal" in device.why
    assert report.status == 1


@pytest.mark.emulated
def test_the_x86_target_never_makes_such_a_file(tmp_path):
    slower = "gates.max_slowdown=50.0"  # 7 bits do not pay on a network this small
    report, out = build(tmp_path, "builtin:digits", "x86", overrides=(STEPS, slower))
    haswell = next(d for d in report.targets[0].devices if d.on == "qemu:Haswell")
    assert report.verdict == "pass"
    assert haswell.exact is True
    assert verify(out / "digits-x86.edgepack", on=("local",)).verdict == "pass"


def test_asking_the_x86_target_for_such_a_file_is_refused(tmp_path):
    from edgepack.errors import ModelError

    with pytest.raises(ModelError) as caught:
        build(
            tmp_path,
            "builtin:digits",
            "x86",
            overrides=('steps=[{pass="quantize", scheme="w8a8-static", reduce_range=false}]',),
        )
    assert caught.value.code == "E453"
