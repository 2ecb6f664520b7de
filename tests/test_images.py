"""Whatever a person hands over becomes an upright RGB picture, or one clear sentence."""

from __future__ import annotations

import io
import random
import struct
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

import camwidgets
from camwidgets.images import open_image, picture_hash
from tests.nets import small, state

RED, BLUE = (250, 10, 20), (10, 20, 250)


def halves(width: int = 40, height: int = 24) -> Image.Image:
    """Left red, right blue."""
    image = Image.new("RGB", (width, height), RED)
    image.paste(BLUE, (width // 2, 0, width, height))
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def assert_colours(image: Image.Image, left: Any = RED, right: Any = BLUE, tolerance: int = 6) -> None:
    assert image.mode == "RGB"
    pixels = np.asarray(image).astype(int)
    for pixel, wanted in ((pixels[2, 2], left), (pixels[-3, -3], right)):
        assert np.abs(pixel - wanted).max() <= tolerance, f"{pixel} is not {wanted}"


# ---------------------------------------------------------------------------------------------------- every kind


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM"])
def test_kinds_of_files(kind: str, tmp_path: Path) -> None:
    data = encoded(halves(), kind)
    (tmp_path / "picture").write_bytes(data)
    for source in (data, bytearray(data), memoryview(data), tmp_path / "picture", str(tmp_path / "picture")):
        image = open_image(source)
        assert image.size == (40, 24)
        assert_colours(image)


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "P", "PA", "YCbCr", "RGBA", "HSV", "RGBX", "LAB"])
def test_modes(mode: str) -> None:
    if mode == "LAB":
        from PIL import ImageCms

        profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
        image = ImageCms.profileToProfile(halves(), *profiles, outputMode="LAB")
        assert image is not None
    else:
        image = halves().quantize(4).convert(mode) if mode in ("P", "PA") else halves().convert(mode)
    assert image.mode == mode
    assert_colours(open_image(image), tolerance=20 if mode == "LAB" else 6)  # LAB in 8 bits is coarse


def test_cmyk_file() -> None:
    assert_colours(open_image(encoded(halves().convert("CMYK"), "JPEG", quality=95)), tolerance=25)


def test_grey() -> None:
    grey = Image.fromarray(np.repeat(np.arange(0, 250, 10, dtype=np.uint8)[None], 20, 0))
    for image in (grey, grey.convert("LA"), grey.convert("1", dither=Image.Dither.NONE).convert("L")):
        assert open_image(image).mode == "RGB"
    assert np.array_equal(np.asarray(open_image(grey))[..., 1], np.asarray(grey))
    assert open_image(Image.new("1", (16, 16), 1)).getpixel((3, 3)) == (255, 255, 255)


def test_sixteen_bits() -> None:
    """65535 is white and 32768 is middle grey; Pillow alone would cut everything above 255."""
    deep = np.repeat(np.linspace(0, 65535, 32).round().astype(np.uint16)[None], 16, 0)
    for source in (Image.fromarray(deep), encoded(Image.fromarray(deep)), Image.fromarray(deep.astype(np.int32))):
        values = np.asarray(open_image(source))[5]
        assert (values == values[:, :1]).all()
        assert np.abs(values[:, 0] - deep[5] / 257).max() <= 0.5
        assert (values[0, 0], values[-1, 0]) == (0, 255)
    with pytest.raises(ValueError, match=r"32-bit pixels outside 0…65535"):
        open_image(Image.fromarray(np.full((16, 16), 70000, np.int32)))
    with pytest.raises(ValueError, match="floating-point pixels, whose range is not defined"):
        open_image(Image.fromarray(np.zeros((16, 16), np.float32)))


def test_transparency_lies_over_white() -> None:
    clear = halves().convert("RGBA")
    clear.putalpha(Image.new("L", clear.size, 0))
    assert_colours(open_image(clear), (255, 255, 255), (255, 255, 255))
    half = halves().convert("RGBA")
    half.putalpha(Image.new("L", half.size, 128))
    assert_colours(open_image(encoded(half)), [(c + 255) // 2 for c in RED], [(c + 255) // 2 for c in BLUE])
    grey = Image.merge("LA", (Image.new("L", (16, 16), 0), Image.new("L", (16, 16), 0)))
    assert_colours(open_image(encoded(grey)), (255, 255, 255), (255, 255, 255))


def test_transparent_palette() -> None:
    palette = halves().quantize(4)
    index = palette.getpixel((0, 0))
    for kind in ("PNG", "GIF"):
        image = open_image(encoded(palette, kind, transparency=index))
        assert_colours(image, (255, 255, 255), BLUE)


def test_transparent_colour_of_a_png() -> None:
    assert_colours(open_image(encoded(halves(), transparency=RED)), (255, 255, 255), BLUE)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_frame_of_an_animation(kind: str) -> None:
    others = [Image.new("RGB", (40, 24), colour) for colour in ("green", "white")]
    options = {} if kind == "TIFF" else {"duration": 80, "loop": 0}
    data = encoded(halves(), kind, save_all=True, append_images=others, **options)
    with Image.open(io.BytesIO(data)) as check:
        assert getattr(check, "n_frames", 1) == 3
    assert_colours(open_image(data), tolerance=12)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_exif_rotation(orientation: int, kind: str) -> None:
    """A picture that says how it was held is shown upright: each orientation undoes what the camera did."""
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation → the transposition that the camera applied
    stored = halves()
    if orientation in undo:
        stored = stored.transpose(Image.Transpose(undo[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = open_image(encoded(stored, kind, exif=exif.tobytes()))
    assert image.size == (40, 24)
    assert_colours(image, tolerance=12)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"]
)
def test_broken_exif_is_no_reason_to_refuse(exif: bytes) -> None:
    assert_colours(open_image(encoded(halves(), "JPEG", exif=b"Exif\0\0" + exif, quality=95)), tolerance=12)


def test_arrays() -> None:
    array = np.asarray(halves())
    assert_colours(open_image(array))
    assert_colours(open_image(array[::-1]), RED, BLUE)
    assert_colours(open_image(np.asfortranarray(array)))
    assert open_image(array[..., 0]).mode == "RGB"


def test_what_is_handed_over_is_left_alone() -> None:
    image = halves().convert("P")
    before = image.tobytes()
    opened = open_image(image)
    opened.putpixel((0, 0), (1, 2, 3))
    assert (image.mode, image.tobytes()) == ("P", before)
    plain = halves()
    open_image(plain).putpixel((0, 0), (1, 2, 3))
    assert plain.getpixel((0, 0)) == RED


def test_picture_hash() -> None:
    a = np.zeros((4, 6, 3), np.uint8)
    assert len(picture_hash(a)) == 64
    assert picture_hash(a) != picture_hash(np.zeros((6, 4, 3), np.uint8))
    assert picture_hash(a[:, ::-1]) == picture_hash(a)


# ------------------------------------------------------------------------------------------------------- refusals


def header_only(width: int, height: int) -> bytes:
    """A PNG of a hundred bytes whose header promises width×height."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


BAD: dict[str, tuple[Any, type[Exception], str]] = {
    "1×1": (Image.new("RGB", (1, 1)), ValueError, r"the picture is 1×1 pixels; at least 8×8 are needed"),
    "1×1 array": (np.zeros((1, 1, 3), np.uint8), ValueError, r"the array is 1×1 pixels"),
    "1×1 file": (encoded(Image.new("RGB", (1, 1))), ValueError, r"the uploaded picture is 1×1 pixels"),
    "too long": (Image.new("RGB", (2000, 9)), ValueError, r"2000×9 pixels; at most 50:1"),
    "bomb": (header_only(30_000, 30_000), ValueError, r"the uploaded picture is refused: "),
    "large": (header_only(9_000, 9_000), ValueError, r"is refused: 9000×9000 pixels; at most 64 million are opened"),
    "truncated JPEG": (
        encoded(halves(200, 200), "JPEG")[:900],
        ValueError,
        "the uploaded picture is truncated or damaged",
    ),
    "truncated PNG": (encoded(halves(200, 200))[:120], ValueError, "the uploaded picture is truncated or damaged"),
    "text": (b"dear picture", ValueError, "the uploaded picture is not a picture that can be read"),
    "empty": (b"", ValueError, "the uploaded picture is not a picture that can be read"),
    "float array": (np.zeros((32, 32, 3)), ValueError, r"must be H×W×3 uint8; got shape \(32, 32, 3\), float64"),
    "wrong shape": (
        np.zeros((32, 32, 5), np.uint8),
        ValueError,
        r"H×W×3 uint8; got shape \(32, 32, 5\), uint8",
    ),
    "channels first": (np.zeros((3, 32, 32), np.uint8), ValueError, r"got shape \(3, 32, 32\)"),
    "empty array": (np.zeros((0, 0, 3), np.uint8), ValueError, r"got shape \(0, 0, 3\)"),
    "bool array": (np.zeros((32, 32), bool), ValueError, r"got shape \(32, 32\), bool"),
    "number": (3, TypeError, "a picture must be a path, a PIL picture, .* got int"),
    "nothing": (None, TypeError, "got NoneType"),
}


@pytest.mark.parametrize("what", BAD)
def test_refusals(what: str) -> None:
    source, kind, said = BAD[what]
    with pytest.raises(kind, match=said) as caught:
        open_image(source)
    assert type(caught.value) is kind
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", BAD)
def test_a_refused_picture_leaves_the_session_and_the_model_as_they_were(what: str) -> None:
    source, kind, said = BAD[what]
    classifier = small()
    before = state(classifier.module)
    for use in (camwidgets.explain, camwidgets.capture, lambda c, image: c.predict(image)):
        with pytest.raises(kind, match=said):
            use(classifier, source)
    assert state(classifier.module) == before
    assert camwidgets.explain(classifier, halves()).map.shape == (16, 16)


def test_paths(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="is a folder; give the path of one picture in it"):
        open_image(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no picture at .*absent.png"):
        open_image(tmp_path / "absent.png")
    with pytest.raises(FileNotFoundError, match="no picture at"):
        open_image("data:image/png;base64," + "A" * 5000)
    (tmp_path / "notes.txt").write_text("not a picture")
    with pytest.raises(ValueError, match=r"'notes.txt' is not a picture that can be read"):
        open_image(tmp_path / "notes.txt")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ValueError, match=r"'empty.png' is not a picture that can be read"):
        open_image(tmp_path / "empty.png")
    (tmp_path / "cut.jpg").write_bytes(encoded(halves(200, 200), "JPEG")[:900])
    with pytest.raises(ValueError, match=r"'cut.jpg' is truncated or damaged"):
        open_image(tmp_path / "cut.jpg")


def test_a_truncated_picture_that_pillow_has_only_half_opened() -> None:
    lazy = Image.open(io.BytesIO(encoded(halves(200, 200), "JPEG")[:900]))
    with pytest.raises(ValueError, match="the picture is truncated or damaged"):
        open_image(lazy)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    process = psutil.Process()
    before, started = process.memory_info().rss, time.perf_counter()
    tracemalloc.start()
    for size in ((30_000, 30_000), (9_000, 9_000), (65_000, 65_000)):
        with pytest.raises(ValueError, match="is refused"):
            open_image(header_only(*size))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5e6
    assert process.memory_info().rss - before < 20e6, "3 × 30 000 × 30 000 bytes would be 2.7 GB"
    assert time.perf_counter() - started < 5


def test_a_bomb_is_refused_even_if_pillow_was_told_not_to_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(ValueError, match="is refused: 30000×30000 pixels; at most 64 million are opened"):
        open_image(header_only(30_000, 30_000))


def test_no_other_program_is_started_for_a_picture() -> None:
    """Pillow hands EPS to Ghostscript; a picture from anywhere is not to reach it."""
    with pytest.raises(ValueError, match="is not a picture that can be read"):
        open_image(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
def test_damage_of_any_kind_is_one_sentence(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    """300 files with flipped and missing bytes: a picture, or a ValueError that names it; nothing else ever."""
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {"exif": exif.tobytes()} if kind in ("JPEG", "WEBP") else {}
    sound = encoded(halves(), kind, **options)
    dice = random.Random(kind)
    told: list[str] = []
    for _ in range(300):
        data = bytearray(sound[: dice.randrange(1, len(sound))] if dice.random() < 0.25 else sound)
        for _ in range(dice.randrange(1, 6)):
            data[dice.randrange(len(data) if dice.random() < 0.5 else min(len(data), 200))] = dice.randrange(256)
        try:
            assert open_image(bytes(data)).mode == "RGB"
        except ValueError as error:
            told.append(str(error))
    assert len(told) > 30
    assert all(sentence.startswith("the uploaded picture") for sentence in told)


# ---------------------------------------------------------------------------------------------- what networks see


def test_every_source_gives_the_network_the_same(tmp_path: Path) -> None:
    classifier = small()
    path = tmp_path / "picture.png"
    halves().save(path)
    wanted = classifier.preprocess(halves())
    assert wanted.shape == (1, 3, 16, 16)
    for source in (path, str(path), path.read_bytes(), np.asarray(halves()), wanted, wanted[0]):
        assert classifier.preprocess(source).equal(wanted)
    assert classifier.preprocess([halves(), path]).shape == (2, 3, 16, 16)
    with pytest.raises(ValueError, match="an empty list of pictures was given"):
        classifier.preprocess([])


def test_crop_and_squash_and_what_the_network_saw() -> None:
    from camwidgets.classifiers.preprocessing import Preprocessing

    wide = Image.new("RGB", (320, 80), RED)
    wide.paste(BLUE, (0, 0, 80, 80))
    crop, squash = Preprocessing((64, 64), 64), Preprocessing((64, 64), fit="squash")
    assert_colours(crop.view(wide), RED, RED)
    assert_colours(squash.view(wide), BLUE, RED)
    for way in (crop, squash):
        assert np.array_equal(way.show(way(wide)), np.asarray(way.view(wide)))


@pytest.mark.parametrize("name", ["resnet18", "vgg11", "mobilenet_v3_small"])
def test_preprocessing_is_torchvisions(name: str) -> None:
    import torchvision

    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    from camwidgets.classifiers.preprocessing import Preprocessing

    image = camwidgets.samples.picture("coffee")
    difference = (Preprocessing.from_torchvision(preset)(image) - preset(image)).abs().max()
    assert float(difference) < 1e-5


def test_sample_pictures() -> None:
    for name in camwidgets.samples.names():
        assert camwidgets.samples.picture(name).mode == "RGB"
        assert min(camwidgets.samples.picture(name).size) >= 224
    with pytest.raises(ValueError, match=r"unknown sample picture 'dog'; valid: cat, coffee"):
        camwidgets.samples.picture("dog")
