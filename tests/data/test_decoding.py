from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from tests.data.pictures import encoded, pixels
from weightatlas.checkpoints import import_torchvision
from weightatlas.data.decoding import Fit, decode_image, quiet_decoding


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_formats_come_back_as_they_were(kind: str) -> None:
    image = pixels(0, height=5, width=9)
    assert np.array_equal(decode_image(encoded(image, kind)), image)


def test_grey_palette_and_transparent_images_become_rgb() -> None:
    for mode in ("L", "P", "RGBA", "LA", "1", "I;16", "CMYK"):
        buffer = io.BytesIO()
        Image.new(mode, (4, 3)).save(buffer, "TIFF" if mode == "CMYK" else "PNG")
        assert decode_image(buffer.getvalue()).shape == (3, 4, 3)


@pytest.mark.parametrize(("height", "width"), [(40, 61), (61, 40), (33, 33), (17, 90)])
@pytest.mark.parametrize(("resize", "size"), [(24, 16), (24, 24), (50, 31), (None, 21), (30, None)])
def test_fitting_gives_torchvisions_pixels(height: int, width: int, resize: int | None, size: int | None) -> None:
    import_torchvision()
    from torchvision.transforms import v2

    image = pixels(1, height=height, width=width)
    steps = [v2.Resize(resize or size)] + ([v2.CenterCrop(size)] if size is not None else [])
    expected = np.asarray(v2.Compose(steps)(Image.fromarray(image)))
    assert np.array_equal(decode_image(encoded(image), Fit(resize, size)), expected)


def huge_png(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("width", "height"), [(9000, 9000), (10_000, 12_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)]
)
def test_an_image_of_too_many_pixels_is_refused_before_it_is_decoded(width: int, height: int) -> None:
    with quiet_decoding(), pytest.raises((ValueError, Image.DecompressionBombError, OSError), match=r"pixel|size"):
        decode_image(huge_png(width, height))


def test_a_line_of_pixels_does_not_become_a_wall() -> None:
    image = np.zeros((1, 50_000, 3), dtype=np.uint8)
    with pytest.raises(ValueError, match="is the most"):
        decode_image(encoded(image), Fit(size=224))


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n", b"%!PS-Adobe-3.0 EPSF-3.0\n"])
def test_what_is_no_image_is_refused(content: bytes) -> None:
    with pytest.raises(OSError, match=r"^no PNG, JPEG, WEBP, BMP, GIF, PPM or TIFF image$"):
        decode_image(content)


def test_a_truncated_image_is_refused() -> None:
    with pytest.raises(OSError, match=r"truncated|broken"):
        decode_image(encoded(pixels(0, height=64, width=64))[:-2000])


@pytest.mark.parametrize(("resize", "size"), [(0, None), (None, 0), (8, 9), (None, -1), (5000, None), (True, None)])
def test_sizes_without_meaning_are_refused(resize: int | None, size: int | None) -> None:
    with pytest.raises(ValueError, match=r"resize|size"):
        Fit(resize, size)


def test_remarks_are_kept_back_until_the_last_thread_is_done() -> None:
    content = huge_png(9990, 9010)  # Pillow warns, then our own check refuses it
    first, second = quiet_decoding(), quiet_decoding()
    before = list(warnings.filters)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    with pytest.raises(ValueError, match="is the most"):
        decode_image(content)
    with pytest.raises(UserWarning, match="not ours"):
        warnings.warn("not ours", UserWarning, stacklevel=1)
    second.__exit__(None, None, None)
    assert list(warnings.filters) == before
    with pytest.raises(Image.DecompressionBombWarning):
        decode_image(content)
