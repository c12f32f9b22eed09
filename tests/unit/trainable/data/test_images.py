"""Image files of every kind: what they become, and which are refused."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trees import Pixels, photograph_patch

from trainable.config.schema import ConfigError
from trainable.data.sources.images import UndecodableError, read_image, read_rgb

HERE = Path("an/image")
COLOUR = photograph_patch(0, (40, 56))


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def read(image: Image.Image, kind: str = "PNG", **options: Any) -> Pixels:
    pixels = read_rgb(HERE, encoded(image, kind, **options))
    assert pixels.dtype == np.uint8
    assert pixels.shape == (image.height, image.width, 3)
    return pixels


def refusal(content: bytes) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read_rgb(HERE, content)
    assert str(caught.value).startswith(f"{HERE}: ")
    assert "\n" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("kind", ["BMP", "PNG", "PPM", "TIFF"])
def test_colours_stay_as_they_are(kind: str) -> None:
    assert (read(Image.fromarray(COLOUR), kind) == COLOUR).all()


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_grey_image_becomes_three_equal_channels(mode: str) -> None:
    grey = Image.fromarray(COLOUR).convert("L")
    assert (read(grey.convert(mode)) == np.array(grey)[..., None]).all()


def test_alpha_is_dropped() -> None:
    alpha = np.full((40, 56, 1), 7, dtype=np.uint8)
    assert (read(Image.fromarray(np.concatenate((COLOUR, alpha), axis=-1))) == COLOUR).all()


@pytest.mark.parametrize("transparency", [None, bytes(range(256))])
def test_a_palette_becomes_its_colours_without_a_warning(
    tmp_path: Path, transparency: bytes | None
) -> None:
    image = Image.fromarray(COLOUR).quantize(256)
    image.save(tmp_path / "image.png", transparency=transparency)
    assert (np.array(read_image(tmp_path / "image.png")) == np.array(image.convert("RGB"))).all()


def test_cmyk_becomes_rgb() -> None:
    red = np.full((40, 56, 3), (255, 0, 0), dtype=np.uint8)
    pixels = read(Image.fromarray(red).convert("CMYK"), "JPEG", quality=95)
    assert np.abs(pixels.astype(int) - red).max() <= 4


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bits_are_scaled_to_8_not_clipped(kind: str) -> None:
    # 257 * v is v in 16 bits; what lies between is rounded.
    deep = np.array([[0, 1, 128, 129, 257 * 100, 257 * 100 + 129, 65534, 65535]], dtype=np.uint16)
    pixels = read(Image.fromarray(deep), kind)
    assert pixels[0, :, 0].tolist() == [0, 0, 0, 1, 100, 101, 255, 255]
    assert (pixels == pixels[..., :1]).all()


def test_16_bits_in_32_are_scaled_and_more_are_refused() -> None:
    deep = np.array([[0, 257, 65535]], dtype=np.int32)
    assert read(Image.fromarray(deep), "TIFF")[0, :, 0].tolist() == [0, 1, 255]
    for odd in (65536, -1):
        deep[0, 0] = odd
        error = refusal(encoded(Image.fromarray(deep), "TIFF"))
        assert "must have 8 or 16 bits a channel" in str(error)
        assert "has mode I;" in str(error)


def test_floating_point_pixels_are_refused() -> None:
    error = refusal(encoded(Image.fromarray(np.ones((4, 4), dtype=np.float32)), "TIFF"))
    assert "must have 8 or 16 bits a channel" in str(error)
    assert "has mode F; save it as RGB" in str(error)
    assert not isinstance(error, UndecodableError)


@pytest.mark.parametrize(("width", "height"), [(4097, 1), (1, 4097)])
def test_a_side_of_more_than_4096_pixels_is_refused(width: int, height: int) -> None:
    assert read(Image.new("L", (min(width, 4096), min(height, 4096)))).max() == 0
    error = refusal(encoded(Image.new("L", (width, height))))
    assert f"must have at most 4096 pixels on a side, but has {width}x{height};" in str(error)
    assert not isinstance(error, UndecodableError)


def png_that_claims(width: int, height: int) -> bytes:
    """Return a PNG whose header promises pixels that are not there."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + content


@pytest.mark.parametrize("side", [10_000, 14_000, 100_000])
def test_a_decompression_bomb_is_one_line_and_no_warning(tmp_path: Path, side: int) -> None:
    # Pillow warns of the first, and refuses the others before it says their size.
    path = tmp_path / "image.png"
    path.write_bytes(png_that_claims(side, side))
    with pytest.raises(ConfigError, match="must have at most 4096 pixels on a side, but") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is none of BMP"),
        (b"GIF89a", "is none of BMP"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is none of BMP"),
        (encoded(Image.fromarray(COLOUR), "JPEG")[:-99], "truncated"),
        (encoded(Image.fromarray(COLOUR))[:-99], "truncated"),
        (png_that_claims(9, 9), "but .+"),
    ],
)
def test_what_is_no_image_or_broken_is_undecodable(content: bytes, reason: str) -> None:
    error = refusal(content)
    assert isinstance(error, UndecodableError)
    assert "must be an image that Pillow can read, but" in str(error)
    with pytest.raises(ConfigError, match=f"(?i){reason}"):
        raise error
