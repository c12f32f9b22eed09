"""Image files: their content as 8-bit RGB, whatever colours they have, and what is refused."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trainable.config.schema import ConfigError
from trainable.data.sources.parallel import quiet_pillow
from trainable.storage.bounded_reads import MOST_IMAGE, read_bounded

Pixels = NDArray[np.uint8]

MAX_SIDE_PX = 4096  # as for generated images; VOC's largest side is 500
# Without those that Pillow hands to another program (EPS).
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
# What holds each pixel as it was written: a mask whose labels are blurred is none.
LOSSLESS = ("BMP", "GIF", "PNG", "PPM", "TIFF")
LOSSY_COMPRESSIONS = ("jpeg", "tiff_jpeg", "webp")  # that a TIFF may hide
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")


class UndecodableError(ConfigError):
    """A file is there but broken, or of no format we read: what `skip_bad_images` leaves out."""


def undecodable(path: Path, rule: str, reason: str) -> UndecodableError:
    """Return the error of a file that breaks `rule` for this reason."""
    return UndecodableError(f"{path}: {rule}, but {' '.join(reason.split())}; restore the file")


def read_content(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises:
        ConfigError: The file is missing or cannot be read.
    """
    try:
        return read_bounded(path, MOST_IMAGE)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{path}: the file must exist; restore it, or take its name off the list"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{path}: the file must be readable, but {error.strerror}; restore it"
        ) from error


def read_image(path: Path) -> Image.Image:
    """Return an image file as 8-bit RGB.

    Raises:
        ConfigError: As `read_content` and `read_rgb`.
    """
    with quiet_pillow():
        return Image.fromarray(read_rgb(path, read_content(path)))


def read_rgb(path: Path, content: bytes) -> Pixels:
    """Decode the content of an image file to uint8 [H, W, 3], whatever its colours are.

    Alpha is dropped, and 16 bits are scaled to 8.

    Raises:
        ConfigError: As `open_image`, or the pixels are floating-point or of a rarer kind.
    """
    return to_rgb(path, open_image(path, content))


def to_rgb(path: Path, image: Image.Image) -> Pixels:
    """Return the pixels of an image as `read_rgb` does.

    Raises:
        ConfigError: They are floating-point or of a rarer kind.
    """
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        if grey.min() >= 0 and grey.max() < 2**16:
            grey = ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)
            return np.stack((grey, grey, grey), axis=-1)
    elif image.mode in MODES:
        return np.asarray(image.convert("RGB"))
    raise ConfigError(
        f"{path}: an image must have 8 or 16 bits a channel in a mode of {', '.join(MODES)}, but "
        f"has mode {image.mode}; save it as RGB"
    )


def open_mask(path: Path, content: bytes) -> Image.Image:
    """Decode the content of a mask file, in the mode it has.

    Raises:
        ConfigError: As `open_image`, or its format, whatever its name says, does not keep labels.
    """
    mask = open_image(path, content)
    found, compression = mask.format, str(mask.info.get("compression", ""))
    if found not in LOSSLESS or compression in LOSSY_COMPRESSIONS:
        raise ConfigError(
            f"{path}: a mask must be of a format that keeps every pixel ({', '.join(LOSSLESS)}), "
            f"but its content is {' '.join([compression, found or 'unknown']).strip()}; restore "
            "the mask that the data set ships"
        )
    return mask


def open_image(path: Path, content: bytes) -> Image.Image:
    """Decode the content of an image file, in the mode it has.

    Raises:
        UndecodableError: It is broken, or no image.
        ConfigError: It is larger than MAX_SIDE_PX.
    """
    rule = "must be an image that Pillow can read"
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        if max(image.size) <= MAX_SIDE_PX:
            image.load()
            return image
        size = f"has {image.width}x{image.height}"
    except UnidentifiedImageError as error:
        formats = ", ".join(FORMATS)
        raise undecodable(path, rule, f"is none of {formats}") from error
    except Image.DecompressionBombError as error:
        size = f"is far larger ({error})"
    # Pillow raises SyntaxError and ValueError, too, for broken files.
    except (OSError, SyntaxError, ValueError) as error:
        raise undecodable(path, rule, str(error)) from error
    raise ConfigError(
        f"{path}: an image must have at most {MAX_SIDE_PX} pixels on a side, but {size}; "
        "make it smaller, and its mask with it"
    )
