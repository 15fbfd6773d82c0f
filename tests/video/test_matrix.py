from __future__ import annotations

import numpy as np
import pytest

from vsr.errors import SourceError
from vsr.video.color import RANGE_FULL, RANGE_LIMITED
from vsr.video.matrix import decoding_matrix, encoding_matrix, quantise

MATRICES = [0, 1, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("matrix", MATRICES)
def test_decoding_undoes_encoding(matrix: int) -> None:
    product = np.array(decoding_matrix(matrix)) @ np.array(encoding_matrix(matrix))
    np.testing.assert_allclose(product, np.eye(3), atol=1e-15)


@pytest.mark.parametrize("matrix", [matrix for matrix in MATRICES if matrix])
def test_white_is_luma_one_without_chroma(matrix: int) -> None:
    np.testing.assert_allclose(np.array(encoding_matrix(matrix)) @ np.ones(3), [1, 0, 0], atol=1e-15)


@pytest.mark.parametrize("matrix", [1, 4, 5, 6, 7, 9])
def test_chroma_spans_one(matrix: int) -> None:
    _, blue, red = np.array(encoding_matrix(matrix))
    assert (blue @ [0, 0, 1], blue @ [1, 1, 0]) == pytest.approx((0.5, -0.5))
    assert (red @ [1, 0, 0], red @ [0, 1, 1]) == pytest.approx((0.5, -0.5))


@pytest.mark.parametrize(
    ("matrix", "name"), [(10, "constant luminance"), (14, "ICtCp"), (2, "not resolved"), (99, "99")]
)
def test_what_no_matrix_describes_is_refused_by_name(matrix: int, name: str) -> None:
    for build in (encoding_matrix, decoding_matrix):
        with pytest.raises(SourceError, match=name) as caught:
            build(matrix)
        assert caught.value.hint


def test_quantisation_of_video_levels() -> None:
    ten = quantise(10, RANGE_LIMITED, 1)
    assert (ten.luma_offset, ten.luma_offset + ten.luma_scale) == (64, 940)
    assert (ten.chroma_offset - ten.chroma_scale / 2, ten.chroma_offset + ten.chroma_scale / 2) == (64, 960)
    full = quantise(8, RANGE_FULL, 1)
    assert (full.luma_scale, full.luma_offset, full.chroma_scale, full.chroma_offset) == (255, 0, 255, 128)
    assert quantise(8, RANGE_LIMITED, 8).chroma_scale == 219
    rgb = quantise(8, RANGE_LIMITED, 0)
    assert (rgb.chroma_scale, rgb.chroma_offset) == (219, 16)
