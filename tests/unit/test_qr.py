"""The QR picture, read back by a real reader as a phone would see it in Discord."""

from __future__ import annotations

import io

import pytest
import zxingcpp
from PIL import Image

from plexlink.plex import OFFICIAL, PinStyle, verification_url
from plexlink.secret import Secret
from plexlink.surface.qr import draw

QUIET_ZONE = 4
WIDEST = 350
SMALLEST_MODULE = 3


def url(style: PinStyle, *, base_url: str = OFFICIAL, product: str = "PlexLink") -> str:
    code = "7RQZ" if style is PinStyle.SHORT else "l91xft5ypr1n7588alsymxoy8"
    return verification_url(
        base_url=base_url,
        style=style,
        user_code=Secret(code),
        client_identifier=Secret("3f0c2d1e-6c0b-4d39-9b55-0d7f0a4a6f11"),
        product=product,
    )


URLS = {
    "short": url(PinStyle.SHORT),
    "strong": url(PinStyle.STRONG),
    "strong, long product": url(PinStyle.STRONG, product="%" * 64),
    "sandbox, short": url(PinStyle.SHORT, base_url="http://127.0.0.1:54321"),
    "sandbox, strong": url(PinStyle.STRONG, base_url="http://127.0.0.1:54321"),
}
urls = pytest.mark.parametrize("text", URLS.values(), ids=URLS)
backgrounds = pytest.mark.parametrize("background", ["#313338", "#ffffff", "#000000"])


def picture(text: str) -> Image.Image:
    with Image.open(io.BytesIO(draw(text))) as opened:
        assert opened.format == "PNG"
        return opened.convert("RGB")


def in_discord(image: Image.Image, background: str) -> Image.Image:
    """Return the picture as a part of a larger screen."""
    canvas = Image.new("RGB", (image.width + 300, image.height + 200), background)
    canvas.paste(image, (170, 90))
    return canvas


def read(image: Image.Image) -> list[tuple[str, str]]:
    return [(found.text, str(found.format)) for found in zxingcpp.read_barcodes(image)]


def scaled(image: Image.Image, factor: float, resampling: Image.Resampling) -> Image.Image:
    return image.resize((round(image.width * factor), round(image.height * factor)), resampling)


@urls
@backgrounds
def test_picture_reads_as_exactly_the_url_on_any_background(text: str, background: str) -> None:
    assert read(in_discord(picture(text), background)) == read(picture(text)) == [(text, "QR Code")]


@urls
@backgrounds
@pytest.mark.parametrize(
    ("factor", "resampling"),
    [
        (2, Image.Resampling.NEAREST),
        (2, Image.Resampling.BICUBIC),
        (0.5, Image.Resampling.LANCZOS),
        (0.8, Image.Resampling.BILINEAR),
        (1.37, Image.Resampling.BICUBIC),
    ],
)
def test_picture_reads_on_other_screens(
    text: str, background: str, factor: float, resampling: Image.Resampling
) -> None:
    shown = scaled(in_discord(picture(text), background), factor, resampling)
    assert [found for found, _ in read(shown)] == [text]


@urls
@pytest.mark.parametrize("angle", [90, 180, 7])
def test_picture_reads_from_a_phone_that_is_held_askew(text: str, angle: int) -> None:
    turned = in_discord(picture(text), "#313338").rotate(angle, Image.Resampling.BICUBIC, fillcolor="#313338")
    assert [found for found, _ in read(turned)] == [text]


def module_size(image: Image.Image) -> int:
    """Return the pixels of a module: the finder pattern at the upper left is seven wide, and begins the dark part."""
    left, top, _, _ = dark_part(image)
    width = next(at for at in range(image.width - left) if image.getpixel((left + at, top)) != (0, 0, 0))
    assert width % 7 == 0
    return width // 7


def dark_part(image: Image.Image) -> tuple[int, int, int, int]:
    box = image.convert("L").point(lambda value: 255 - value).getbbox()
    assert box is not None
    return box


@urls
def test_picture_is_black_on_white_in_whole_modules(text: str) -> None:
    image = picture(text)
    assert {colour for _, colour in image.getcolors() or ()} == {(0, 0, 0), (255, 255, 255)}
    size = module_size(image)
    assert size >= SMALLEST_MODULE
    assert image.width == image.height
    assert image.width % size == 0
    modules = image.width // size
    small = image.resize((modules, modules), Image.Resampling.NEAREST)
    assert small.resize(image.size, Image.Resampling.NEAREST).tobytes() == image.tobytes()
    assert (modules - 2 * QUIET_ZONE - 17) % 4 == 0, "QR codes have 17 + 4n modules"


@urls
def test_picture_has_four_modules_of_quiet_zone_on_each_side(text: str) -> None:
    image = picture(text)
    zone = QUIET_ZONE * module_size(image)
    assert dark_part(image) == (zone, zone, image.width - zone, image.height - zone)


@urls
def test_picture_is_as_large_as_discord_shows_it_unscaled(text: str) -> None:
    image = picture(text)
    modules = image.width // module_size(image)
    assert image.width <= WIDEST < image.width + modules, "one more pixel a module would be too wide"
