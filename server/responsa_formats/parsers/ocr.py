"""Reads the text of a drawn page (OCR) with RapidOCR, whose wheel contains its models. `responsa setup --ocr` installs it; the
sandbox loads it only if it is turned on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import cv2
import numpy as np
import rapidocr
from rapidocr.inference_engine.onnxruntime.main import ONNXRuntimeError

from responsa_formats.rejections import Rejected

if TYPE_CHECKING:
    from responsa_formats.text.drawn import DrawnPage

_MODELS: Final = Path(rapidocr.__file__).parent / "models"
# Each model is named with its path, because the library would download a model that it looks for by itself. The
# detection of lines works on a smaller picture:
# its memory and time grow with the number of pixels, and lines of 6 points are still found. A process in the sandbox cannot start threads.
_SETTINGS: Final[dict[str, Any]] = {
    "Global.log_level": "error",
    "Global.use_cls": False,
    "EngineConfig.onnxruntime.intra_op_num_threads": 1,
    "EngineConfig.onnxruntime.inter_op_num_threads": 1,
    "Det.model_path": str(_MODELS / "PP-OCRv6_det_small.onnx"),
    "Det.limit_type": "max",
    "Det.limit_side_len": 960,
    "Rec.model_path": str(_MODELS / "PP-OCRv6_rec_small.onnx"),
    "Rec.rec_batch_num": 1,
}


@dataclass(frozen=True, slots=True)
class ReadLine:
    """A line that was read. The edges are in pixels; those of a line that is not level are those of its middle."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


class PageReader:
    """The loaded models."""

    def __init__(self) -> None:
        """Load them. Raises OSError, or an error of the library, if that fails."""
        cv2.setNumThreads(1)
        # The type of its results depends on its settings.
        self._engine = cast("Any", rapidocr.RapidOCR(params=_SETTINGS))

    def read(self, page: DrawnPage) -> Sequence[ReadLine]:
        """The lines of a page, from the top to the bottom. Raises Rejected if they take more memory than is allowed."""
        # The library takes the channels in the order blue, green, red.
        pixels = np.frombuffer(page.pixels, np.uint8).reshape(page.height, page.width, 3)[:, :, ::-1]
        try:
            result = self._engine(np.ascontiguousarray(pixels))
        except (ONNXRuntimeError, cv2.error):
            raise Rejected.as_over_limit(
                "Reading the pages of this PDF by OCR takes more memory than is allowed.",
                "Raise ingestion.parser_memory_mib, or split the document into smaller files.",
            ) from None
        if result.txts is None:
            return []
        return [
            ReadLine(
                text,
                float(box[:, 0].min()),
                float(box[:2, 1].mean()),
                float(box[:, 0].max()),
                float(box[2:, 1].mean()),
            )
            for box, text in zip(result.boxes, result.txts, strict=True)
        ]
