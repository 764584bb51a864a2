"""Spoken prompts amid noise: what each frame of 32 ms is, speech or not."""

import wave
from pathlib import Path

import numpy as np

RATE = 8000  # Hz
FRAME, CONTEXT = 256, 32  # samples: a frame, and what it sees of the one before
PAUSE = RATE  # samples of noise before and after a prompt
PROMPTS = Path(__file__).parent / "prompts"


def evaluation():
    """Four prompts at two levels of noise."""
    for seed, name in enumerate(("vm-goodbye", "hello-world", "please-try-again", "tt-weasels")):
        for decibels in (20, 5):
            yield sequence(name, decibels, seed)


def calibration():
    """Two other prompts."""
    yield sequence("auth-thankyou", 15, 10)
    yield sequence("conf-invalid", 5, 11)


def sequence(name: str, decibels: float, seed: int):
    """Return the frames of a prompt in noise, so many dB under it, and 1 where there is speech."""
    with wave.open(str(PROMPTS / f"{name}.wav")) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels()) == (RATE, 2, 1)
        prompt = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
    clean = np.concatenate([np.zeros(PAUSE), prompt, np.zeros(PAUSE)])
    clean = clean[: len(clean) // FRAME * FRAME].astype(np.float32)
    loudness = np.sqrt(np.mean(prompt**2))
    noise = np.random.default_rng(seed).standard_normal(len(clean)).astype(np.float32)
    heard = clean + noise * np.float32(loudness * 10 ** (-decibels / 20))
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), heard])
    starts = range(0, len(clean), FRAME)
    level = np.sqrt(np.mean(clean.reshape(-1, FRAME) ** 2, axis=1))
    return {
        "runs": [
            {"input": padded[None, at : at + CONTEXT + FRAME], "sr": np.array(RATE)}
            for at in starts
        ],
        "label": [int(loud > loudness / 10) for loud in level],
    }
