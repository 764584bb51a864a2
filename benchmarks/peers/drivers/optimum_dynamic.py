"""optimum-onnx: its own export, then its dynamic preset for AVX512 with VNNI, per channel."""

from pathlib import Path

from job import read
from optimum.onnxruntime import ORTModelForFeatureExtraction, ORTQuantizer
from optimum.onnxruntime.configuration import AutoQuantizationConfig

job = read()

out = Path(job["out"])
model = ORTModelForFeatureExtraction.from_pretrained(job["weights"], export=True)
model.save_pretrained(out / "float")
preset = AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True)
quantizer = ORTQuantizer.from_pretrained(out / "float", file_name="model.onnx")
quantizer.quantize(save_dir=out / "int8", quantization_config=preset)
(out / "int8/model_quantized.onnx").rename(out / "model.onnx")
