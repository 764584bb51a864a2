"""Lines of text, rendered with the font that Pillow brings; the label is the text in classes."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
from PIL import Image, ImageDraw, ImageFont

HEIGHT = 48
EVALUATION = (
    "Exit 9", "Gate B4", "Open", "Room 12",
    "The quick brown fox jumps over the lazy dog", "Invoice 2024-0317, total 1,482.50 EUR",
    "Platform 9, departure 14:05 to Geneva", "Serial no. AX-7731-QL / rev. 4",
    "Keep out of reach of children", "Wi-Fi password: blue-harbour-52",
    "Best before 03/2027, store below 8 C", "Gate B12 closes 20 minutes before takeoff",
    "Please sign here and return one copy", "Patient: M. Okafor, room 214, bed 2",
    "Made in Portugal, 100% cotton, 40 C",
)  # fmt: skip
CALIBRATION = (
    "Receipt 88-190, thank you for your visit", "Tram line 6 runs every 12 minutes",
    "Caution: hot surface, do not touch", "Meeting room Zurich is taken until 16:30",
    "Batch 55F, lot 20931, net weight 750 g", "Turn left at the old mill, then go straight",
    "Account 0044 1920, balance 3,110.07 GBP", "Opening hours: Mon-Fri 9-17, Sat 10-14",
    "Charge the battery fully before first use", "Exit only, mind the gap, no way back",
    "Quarterly report, draft 3, page 17 of 58", "Version 2.8.1 of June, checked by J. Kim",
)  # fmt: skip


def evaluation():
    """Fifteen lines in eight sizes, each with its characters as the model numbers them."""
    number = {character: index for index, character in enumerate(characters())}
    for size in range(24, 40, 2):
        for line in EVALUATION:
            yield {"x": picture(line, size), "label": [number[character] for character in line]}


def calibration():
    """Twelve other lines in three sizes."""
    for size in (25, 30, 36):
        for line in CALIBRATION:
            yield picture(line, size)


def picture(line: str, size: int):
    """Return a line, black on white, as [3, 48, width] from -1 to 1."""
    font = ImageFont.load_default(size)
    width = round(font.getlength(line)) + 24
    canvas = Image.new("L", (width, HEIGHT), 255)
    ImageDraw.Draw(canvas).text((12, HEIGHT // 2), line, fill=0, font=font, anchor="lm")
    values = np.asarray(canvas, np.float32) / 127.5 - 1
    return np.broadcast_to(values, (3, *values.shape)).copy()


def characters():
    """Return what each class stands for; 0 is the blank, the last one a space."""
    package = find_spec("rapidocr_onnxruntime").submodule_search_locations[0]
    model = onnx.load(Path(package) / "models" / "ch_PP-OCRv4_rec_infer.onnx")
    listed = next(p.value for p in model.metadata_props if p.key == "character")
    return ["", *listed.splitlines(), " "]
