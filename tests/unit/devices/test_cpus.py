import pytest

from edgepack.devices import cpus
from edgepack.devices.cpus import CPUS

ARM = sorted(name for name, cpu in CPUS.items() if cpu.arch == "aarch64")
# The primary part numbers of MIDR_EL1 in Arm's technical reference manuals.
PARTS = {
    "cortex-a35": 0xD04,
    "cortex-a53": 0xD03,
    "cortex-a57": 0xD07,
    "cortex-a72": 0xD08,
    "cortex-a76": 0xD0B,
    "neoverse-n1": 0xD0C,
}


def fields(text: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in text.splitlines() if line)
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


@pytest.mark.parametrize("name", ARM)
def test_cpuinfo_says_what_arm_gave_the_part(name):
    told = fields(CPUS[name].cpuinfo())
    assert told["CPU part"] == f"0x{PARTS[name]:x}"
    assert told["CPU implementer"] == "0x41"
    assert (told["processor"], told["CPU architecture"]) == ("0", "8")
    assert int(told["CPU variant"], 16) == 0
    assert told["CPU revision"].isdigit()


@pytest.mark.parametrize("name", ARM)
def test_cpuinfo_is_of_one_core_and_ends_as_the_kernels_does(name):
    text = CPUS[name].cpuinfo()
    assert text.count("processor\t:") == 1
    assert text.endswith("\n\n")


@pytest.mark.parametrize("name", ARM)
def test_the_dot_product_is_where_the_processor_has_it(name):
    has = name in {"cortex-a76", "neoverse-n1"}
    cpu = CPUS[name]
    assert ("asimddp" in cpu.features) is has
    assert ("asimddp" in fields(cpu.cpuinfo())["Features"].split()) is has


@pytest.mark.parametrize("name", ARM)
def test_targets_and_the_kernel_are_told_the_same_of_a_processor(name):
    words = fields(CPUS[name].cpuinfo())["Features"].split()
    assert len(words) == len(set(words))
    assert {"fp", "asimd"} <= set(CPUS[name].features) <= set(words)
    assert "i8mm" not in words  # none of these has it


def test_x86_processors_have_avx2_and_no_vnni():
    x86 = [cpu for cpu in CPUS.values() if cpu.arch == "x86_64"]
    assert {cpu.name for cpu in x86} >= {"Haswell", "EPYC"}
    assert {cpu.features for cpu in x86} == {("avx2",)}


def test_names_are_the_keys_and_max_is_not_offered():
    assert all(name == cpu.name for name, cpu in CPUS.items())
    assert "max" not in CPUS
    assert CPUS[cpus.USUAL].part == PARTS["cortex-a72"]
