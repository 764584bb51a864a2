"""Damages ONNX files and holds them against the gate, many in one process; a child of `test_fuzz`.

``mutate.py FOLDER FIRST LAST`` writes one line of JSON a file: its number and what became of it.
What passed lies in FOLDER as NUMBER.onnx. A file that takes more than SECONDS of processor time
ends the process.
"""

import json
import random
import resource
import signal
import sys
import traceback
from pathlib import Path

import foreign
from google.protobuf.message import DecodeError, Message

from edgepack.errors import EdgepackError
from edgepack.graph.gate import receive

SECONDS = 10
MEMORY = 6 << 30
SEEDS = [make().SerializeToString() for make in foreign.LEGAL if make is not foreign.big_constant]
NUMBERS = (-(1 << 63), -(1 << 31), -2, -1, 0, 1, 2, 3, 7, 16, 17, 25, 99, 1 << 20, (1 << 31) - 1,
           1 << 31, 1 << 40, (1 << 63) - 1)  # fmt: skip
FLOATS = (float("nan"), float("inf"), -1.0, 0.0, 1e38)


def mutated(number: int) -> bytes:
    """Return a damaged model, the same one for the same number."""
    dice = random.Random(number)
    data = SEEDS[number % len(SEEDS)]
    kind = dice.random()
    if kind < 0.1:
        return data[: dice.randrange(1, len(data))]
    if kind < 0.3:
        noise = bytearray(data)
        for _ in range(dice.randint(1, 8)):
            noise[dice.randrange(len(noise))] = dice.randrange(256)
        return bytes(noise)
    import onnx

    model = onnx.ModelProto.FromString(data)
    for _ in range(dice.randint(1, 3)):
        _mutate(model, dice)
    return model.SerializeToString()


def _messages(message: Message, found: list[Message]) -> list[Message]:
    found.append(message)
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in [value] if isinstance(value, Message) else value:
                _messages(part, found)
    return found


def _texts(message: Message) -> list[str]:
    return [
        text
        for part in _messages(message, [])
        for field, value in part.ListFields()
        if field.type == field.TYPE_STRING
        for text in ([value] if isinstance(value, str) else value)
    ]


def _mutate(model: Message, dice: random.Random) -> None:
    """Change one field somewhere: another number, another name, a part lost, doubled or moved."""
    message = dice.choice(_messages(model, []))
    if not message.ListFields():
        return
    field, value = dice.choice(message.ListFields())
    if isinstance(value, (Message, str, bytes, int, float)):
        if field.type == field.TYPE_MESSAGE or dice.random() < 0.1:
            message.ClearField(field.name)
        else:
            _set(message, field, _other(field, value, model, dice))
    elif dice.random() < 0.3:
        del value[dice.randrange(len(value))]
    elif field.type == field.TYPE_MESSAGE:
        copies = [type(part).FromString(part.SerializeToString()) for part in value]
        copies += [dice.choice(copies)] if dice.random() < 0.5 else []
        dice.shuffle(copies)
        del value[:]
        value.extend(copies)
    else:
        value[dice.randrange(len(value))] = _other(field, value[0], model, dice)


def _set(message: Message, field, value) -> None:
    try:
        setattr(message, field.name, value)
    except ValueError:  # the number does not fit the field
        setattr(message, field.name, 1)


def _other(field, value, model: Message, dice: random.Random):
    if field.type == field.TYPE_STRING:
        return dice.choice([*_texts(model), "", "x" * 300, "com.microsoft", "Loop", "ai.onnx"])
    if isinstance(value, bytes):
        return value[: dice.randrange(len(value) + 1)] + bytes(dice.randrange(5))
    if isinstance(value, float):
        return dice.choice(FLOATS)
    narrow = field.type in (field.TYPE_INT32, field.TYPE_ENUM)
    numbers = [n for n in NUMBERS if not narrow or abs(n) < 1 << 31]
    if field.type == field.TYPE_ENUM:
        numbers = [v.number for v in field.enum_type.values]
    return dice.choice(numbers)


def judged(path: Path) -> str:
    """Say what the gate makes of a file: ``ok``, a code, or the traceback of a bug."""
    try:
        admitted = receive(path)
        admitted.graph.save(path.parent)
    except EdgepackError as problem:
        return problem.code if problem.what and problem.fix else "Traceback: nothing is said"
    except MemoryError:
        return "memory"
    except DecodeError:
        return traceback.format_exc()
    except BaseException:  # noqa: BLE001  a bug of ours
        return traceback.format_exc()
    return "ok"


if __name__ == "__main__":
    folder, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for number in range(first, last):
        path = folder / "in.onnx"
        path.write_bytes(mutated(number))
        # Its default action ends the process, whatever it is busy with.
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        answer = judged(path)
        signal.setitimer(signal.ITIMER_PROF, 0)
        if answer == "ok":
            (folder / "model.onnx").rename(folder / f"{number}.onnx")
        sys.__stdout__.write(json.dumps([number, answer]) + "\n")
        sys.__stdout__.flush()
