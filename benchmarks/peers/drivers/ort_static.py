"""`quant_pre_process` and `quantize_static` with their defaults."""

from pathlib import Path

from job import calibration, read
from onnxruntime.quantization import CalibrationDataReader, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

job = read()


class Reader(CalibrationDataReader):
    """Serves the calibration data."""

    def __init__(self) -> None:
        self._rest = iter(calibration(job))

    def get_next(self):  # noqa: ANN201
        """Return the next inputs, or None."""
        return next(self._rest, None)


out = Path(job["out"])
quant_pre_process(job["float"], out / "inferred.onnx", auto_merge=True)
quantize_static(out / "inferred.onnx", out / "model.onnx", Reader())
