"""Data as people have them: functions, tables, folders of images and sounds, made up; and whether they fit the file."""

from __future__ import annotations

import sys
import wave
from pathlib import Path

import numpy as np
import pytest
import soundfile
from float_pairs import dense, write_pair
from PIL import Image
from written_models import Op, T, write_tflite

from quantdiff import api
from quantdiff.errors import BadData, MissingExtra
from quantdiff.load.data import Batch
from quantdiff.load.tflite import load_tflite
from quantdiff.run.data_in_parts import InParts, Source
from quantdiff.run.inputs import data_warnings, load_data

FUNCTIONS = """
import numpy as np
X = np.arange(36, dtype=np.float32).reshape(3, 12) / 36
def samples():
    for row in X: yield [row]
def batches():
    for row in X: yield [row[None]]
def named():
    for row in X: yield {"x": row}
def labelled():
    for i, row in enumerate(X): yield row, i
def one_hot():
    yield X, np.eye(3)
def whole():
    return {"x": X, "y": np.array([0, 1, 2])}
def array():
    return X
def beside():
    for i, row in enumerate(X): yield {"x": row}, i
def listed():
    for i, row in enumerate(X): yield [[row], i]
def too_many():
    for row in X: yield [row, row, row]
def fails():
    yield X
    raise RuntimeError("no more")
def number():
    return 3
def both():
    return X, np.array([0, 1, 2])
def grows():
    yield [X[0]]
    yield [X[0][:6]]
def renamed():
    yield {"a": X}
    yield {"b": X}
def endless():
    while True: yield [X[0]]
def says_nothing():
    while True: yield None
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """It takes (1, 12)."""
    return write_pair(tmp_path, dense()).candidate


@pytest.fixture
def code(tmp_path: Path) -> Path:
    path = tmp_path / "given.py"
    path.write_text(FUNCTIONS)
    return path


@pytest.mark.parametrize(
    "name", ["samples", "batches", "named", "labelled", "one_hot", "whole", "array", "both", "beside", "listed"]
)
def test_a_function_gives_samples_batches_and_labels(model: Path, code: Path, name: str) -> None:
    batch = load_data(f"{code}:{name}", model)
    np.testing.assert_array_equal(batch.arrays["x"], np.arange(36, dtype=np.float32).reshape(3, 12) / 36)
    assert batch.source == f"{code}:{name}"
    if name in ("labelled", "one_hot", "whole", "both", "beside", "listed"):
        assert batch.labels is not None
        np.testing.assert_array_equal(batch.labels, [0, 1, 2])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("fails", "RuntimeError while it ran: no more"),
        ("number", "gives a int; let it yield samples"),
        ("too_many", "item 0 holds 3 arrays, the model takes 1"),
        ("nowhere", "has no function nowhere; it has samples"),
        ("grows", r"item 1 holds \(6,\), those before it \(12,\)"),
        ("renamed", "item 1 names b, those before it a"),
        ("endless", "gives more than 100,000 bytes, or never ends; let it stop"),
        ("says_nothing", "gives more than 100,000 bytes, or never ends; let it stop"),
    ],
)
def test_what_a_function_does_wrong_is_one_line(
    model: Path, code: Path, name: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTDIFF_UNPACKED_AT_MOST", "100000")
    with pytest.raises(BadData, match=says):
        load_data(f"{code}:{name}", model)


def test_a_table_has_labels_by_their_name(tmp_path: Path, model: Path) -> None:
    path = tmp_path / "rows.csv"
    rows = [",".join(map(str, [*range(6), 7, *range(6)])) for _ in range(2)]
    path.write_text("\n".join([",".join([*(f"a{i}" for i in range(6)), "Label", *(f"b{i}" for i in range(6))]), *rows]))
    batch = load_data(path, model)
    np.testing.assert_array_equal(batch.arrays["x"], [[*range(6), *range(6)]] * 2)
    np.testing.assert_array_equal(batch.labels, [7, 7])
    path.write_text("1,2\n3,x\n")
    with pytest.raises(BadData, match="line 2 holds 'x', which is no number"):
        load_data(path, model)
    path.write_text("1,2\n3\n")
    with pytest.raises(BadData, match="line 2 has 1 cells, others have 2"):
        load_data(path, model)
    for label in ("inf", "1e300", "0.5"):
        path.write_text(f"a,y\n1,0\n1,{label}\n")
        with pytest.raises(BadData, match=rf"the column 'y' holds {float(label):g}".replace("+", r"\+")):
            load_data(path, model)


def picture(path: Path, size: tuple[int, int], color: tuple[int, int, int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, color).save(path)


def test_images_are_prepared_as_stated(tmp_path: Path) -> None:
    picture(tmp_path / "b" / "1.png", (30, 20), (255, 0, 51))
    picture(tmp_path / "a" / "2.png", (20, 40), (0, 102, 0))
    batch = load_data(tmp_path, None, "resize=8x6 center-crop scale=2.5/637.5 shift=-1/2 order=BGR")
    assert batch.arrays["x"].shape == (2, 6, 8, 3)
    np.testing.assert_allclose(batch.arrays["x"][:, 0, 0], [[-0.5, -0.1, -0.5], [-0.3, -0.5, 0.5]], atol=1e-6)
    np.testing.assert_array_equal(batch.labels, [0, 1])
    assert "resize=8x6 center-crop" in batch.source
    assert load_data(tmp_path, None, "resize=8x6 order=gray").arrays["x"].shape == (2, 6, 8, 1)


def test_the_middle_is_cut_out_without_stretching(tmp_path: Path) -> None:
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, 10:20] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    (image,) = load_data(tmp_path, None, "resize=10x10 center-crop").arrays["x"]
    assert image.min() == 255


@pytest.mark.parametrize("steps", [
        "resize=8", "resize=0x3", "resize=99999x9", "scale=1/0", "scale=1e400", "scale=1e999999999", "scale=inf",
        "crop", "order=CMYK", "x" * 9999,
    ],
)  # fmt: skip
def test_steps_that_are_none(tmp_path: Path, steps: str) -> None:
    picture(tmp_path / "1.png", (4, 4), (1, 2, 3))
    with pytest.raises(BadData, match=r"^--images: '.{1,40}' is no step; there are resize=WIDTHxHEIGHT"):
        load_data(tmp_path, None, steps)


def test_pictures_that_cannot_be_read_or_put_together(tmp_path: Path) -> None:
    picture(tmp_path / "1.png", (4, 4), (1, 2, 3))
    picture(tmp_path / "2.png", (5, 4), (1, 2, 3))
    with pytest.raises(BadData, match="pictures of 2 sizes; say --images resize=WIDTHxHEIGHT"):
        load_data(tmp_path)
    (tmp_path / "2.png").write_bytes(b"\x89PNG broken")
    with pytest.raises(BadData, match=r"2\.png: not a picture that can be read"):
        load_data(tmp_path)


@pytest.mark.parametrize("mode", ["I;16", "F"])
def test_pixels_of_more_than_8_bits_are_not_cut_to_255(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 4), 1000).save(tmp_path / "1.tif")
    with pytest.raises(BadData, match=r"1\.tif: its pixels have more than 8 bits; save it with 8"):
        load_data(tmp_path)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_pictures_of_every_mode_have_three_channels(tmp_path: Path, mode: str) -> None:
    Image.new("RGB", (4, 5), (255, 255, 255)).convert(mode).save(tmp_path / ("1.jpg" if mode == "CMYK" else "1.png"))
    (image,) = load_data(tmp_path).arrays["x"]
    assert image.shape == (5, 4, 3)
    assert image.min() == 255


def test_what_a_folder_and_a_file_lack_is_said(tmp_path: Path, code: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadData, match=r"without \.npz, \.npy, picture or sound files"):
        load_data(tmp_path / "empty")
    with pytest.raises(BadData, match=r"given\.py:FUNCTION"):
        load_data(code)
    (tmp_path / "1.png").write_text("no picture")
    with pytest.raises(BadData, match=r"\(of no kind that Pillow knows\)"):
        load_data(tmp_path)


def test_recordings_of_several_rates(tmp_path: Path) -> None:
    for rate in (8000, 16000):
        with wave.open(str(tmp_path / f"{rate}.wav"), "wb") as sound:
            sound.setparams((2, 2, rate, 0, "NONE", ""))
            sound.writeframes(bytes(12))
    with pytest.raises(BadData, match=r"recordings of 8000 … 16000 samples a second"):
        load_data(tmp_path)
    (tmp_path / "8000.wav").unlink()
    assert load_data(tmp_path).arrays["x"].shape == (1, 3, 2)


def test_sounds_are_whole_numbers_over_their_half(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "a.wav"), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes(np.array([-32768, 0, 16384], "<i2").tobytes())
    np.testing.assert_array_equal(load_data(tmp_path).arrays["x"], [[-1, 0, 0.5]])
    whole = (tmp_path / "a.wav").read_bytes()
    for damaged in (b"RIFF no", whole[:20], whole.replace(b"fmt ", b"fmt\xff", 1), whole.replace(b"data", b"dat\xff")):
        (tmp_path / "b.wav").write_bytes(damaged)
        with pytest.raises(BadData, match=r"b\.wav: not a recording that can be read"):
            load_data(tmp_path)
    (tmp_path / "b.wav").unlink()
    (tmp_path / "a.wav").write_bytes(whole[:-1])
    np.testing.assert_array_equal(load_data(tmp_path).arrays["x"], [[-1, 0]])


@pytest.mark.parametrize(("name", "subtype"), [
    ("a.wav", "PCM_U8"), ("a.wav", "PCM_16"), ("a.wav", "PCM_24"), ("a.wav", "FLOAT"), ("a.flac", "PCM_16"),
    ("a.aiff", "PCM_24"),
])  # fmt: skip
def test_sounds_of_every_lossless_form_are_the_same_numbers(tmp_path: Path, name: str, subtype: str) -> None:
    values = np.array([[-1, 0.5], [0, -0.25], [0.75, 0]], np.float32)
    soundfile.write(tmp_path / name, values, 16000, subtype)
    np.testing.assert_array_equal(load_data(tmp_path).arrays["x"], values[None])


def test_sounds_are_prepared_as_stated(tmp_path: Path) -> None:
    for folder, values in (
        ("no", [[1 / 2, 0], [1 / 4, 1 / 4]]),
        ("yes", [[0, -1], [1 / 2, 0], [1 / 8, 1 / 8], [0, 0]]),
    ):
        (tmp_path / folder).mkdir()
        soundfile.write(tmp_path / folder / "1.ogg.flac", np.array(values), 8000)
    batch = load_data(tmp_path, audio="mono length=3 scale=32768 shift=-1/2")
    np.testing.assert_array_equal(batch.arrays["x"], [[8191.5, 8191.5, -0.5], [-16384.5, 8191.5, 4095.5]])
    np.testing.assert_array_equal(batch.labels, [0, 1])
    assert batch.source == f"{tmp_path} (8000 samples a second, mono length=3 scale=32768 shift=-1/2)"
    with pytest.raises(BadData, match="recordings of 2 shapes; say --audio length=SAMPLES"):
        load_data(tmp_path)
    for steps in ("length=0", "length=x", "length=1e3", "length=999999999", "mono=1", "scale=1/0", "resize=2x2"):
        with pytest.raises(BadData, match=r"^--audio: '.{1,40}' is no step; there are mono, length=SAMPLES"):
            load_data(tmp_path, audio=steps)
    with pytest.raises(BadData, match="a folder holds one of them"):
        load_data(tmp_path, images="order=RGB", audio="mono")
    with pytest.raises(BadData, match="--audio is for a folder of recordings"):
        load_data("x.npy", audio="mono")
    with pytest.raises(BadData, match="no images in it"):
        load_data(tmp_path, images="order=RGB")


def test_a_sound_that_claims_more_than_there_is(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", np.zeros(5000), 8000)
    claimed = bytearray((tmp_path / "a.flac").read_bytes())
    claimed[21:26] = b"\xff" * 5  # 36 bits of STREAMINFO: how many samples there are
    (tmp_path / "a.flac").write_bytes(claimed)
    with pytest.raises(BadData, match=r"a\.flac: says that it takes 274,877,906,940 bytes; cut it, or set QUANTDIFF_"):
        load_data(tmp_path)


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("a.wav", "soundfile", "audio"), ("a.png", "PIL.Image", "images")]
)
def test_what_a_folder_needs_is_named(
    tmp_path: Path, name: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(b"RIFF")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtra, match=rf"^{package} is needed here: pip install 'quantdiff\[{extra}\]'$"):
        load_data(tmp_path)


def test_made_up_data_are_seeded_and_said(model: Path) -> None:
    one, again, other = (load_data(name, model) for name in ("random:5:1", "random:5:1", "random:5:2"))
    np.testing.assert_array_equal(one.arrays["x"], again.arrays["x"])
    assert one.arrays["x"].shape == (5, 12)
    assert (one.arrays["x"] != other.arrays["x"]).any()
    assert data_warnings(load_tflite(model), one) == ("on random data (5 samples, seed 1), which no application sees",)
    for name in ("random:0", "random:x", "random:1:2:3", "smooth:-1", "random:1:-2"):
        with pytest.raises(BadData, match="in whole numbers"):
            load_data(name, model)
    with pytest.raises(BadData, match=r"take their shapes from a \.tflite candidate"):
        load_data("random", "model.keras")


def test_smooth_images_change_little_from_pixel_to_pixel(tmp_path: Path) -> None:
    tensors = [T("x", (1, 32, 32, 3), scale=0.02, zero_point=5), T("y", (1, 32, 32, 3), scale=0.02, zero_point=5)]
    (tmp_path / "m.tflite").write_bytes(write_tflite(tensors, [Op("RELU", ["x"], ["y"])], ["x"], ["y"]))
    image = load_data("smooth:2", tmp_path / "m.tflite").arrays["x"]
    assert image.shape == (2, 32, 32, 3)
    span = image.max() - image.min()
    assert span > 2
    assert np.abs(np.diff(image, axis=1)).max() < span / 6


def test_data_that_do_not_fit_the_files_input_are_told_first(tmp_path: Path) -> None:
    files = write_pair(tmp_path, dense())
    model, x = load_tflite(files.candidate), files.batch.arrays["x"]
    assert data_warnings(model, files.batch) == ()
    (large,) = data_warnings(model, Batch({"x": x * 255}))
    assert "of the values are clipped; are the data prepared as in training?" in large
    (small,) = data_warnings(model, Batch({"x": x / 255}))
    assert "steps for all of it" in small
    settings = api.Settings(runtimes=("reference",))
    outcome = api.diff(files.reference, files.candidate, Batch({"x": x * 255}), settings)
    assert outcome.warnings == (large,)


TWO = """
import numpy as np
A, B = np.ones((3, 4), np.float32), np.zeros((3, 4), np.float32)
def by_place():
    for row in zip(A, B): yield [*row]
def named():
    for i, (a, b) in enumerate(zip(A, B)): yield {"a": a, "b": b}, i
def paired():
    for i, row in enumerate(zip(A, B)): yield row, i
def a_tuple():
    yield A, B
"""


@pytest.fixture
def two_inputs(tmp_path: Path) -> Path:
    """It adds a, which lies between -128 and 127, and b, of 256 steps from -1 to 1."""
    grids = (1.0, 0), (1 / 128, 0), (1.0, 0)
    tensors = [T(n, (1, 4), "int8", scale=(s,), zero_point=(z,)) for n, (s, z) in zip("aby", grids, strict=True)]
    path = tmp_path / "two.tflite"
    path.write_bytes(write_tflite(tensors, [Op("ADD", ["a", "b"], ["y"], {}, "AddOptions")], ["a", "b"], ["y"]))
    return path


@pytest.mark.parametrize("name", ["by_place", "named", "paired", "a_tuple"])
def test_a_function_gives_several_inputs_with_and_without_labels(two_inputs: Path, name: str) -> None:
    (two_inputs.parent / "two.py").write_text(TWO)
    batch = load_data(f"{two_inputs.parent / 'two.py'}:{name}", two_inputs)
    first, second = batch.arrays.values()
    np.testing.assert_array_equal(first, np.ones((3, 4)))
    np.testing.assert_array_equal(second, np.zeros((3, 4)))
    assert (batch.labels is not None) == (name in ("named", "paired"))


def test_inputs_that_may_be_swapped_are_named_first(two_inputs: Path) -> None:
    model, wide = load_tflite(two_inputs), np.linspace(-128, 127, 40, dtype=np.float32).reshape(10, 4)
    assert data_warnings(model, Batch({"a": wide, "b": wide / 128})) == ()
    first, *others = data_warnings(model, Batch({"a": wide / 128, "b": wide}))
    assert first == "the data of 'a' and 'b' may be swapped: each input would hold the other's"
    assert len(others) == 2
    assert len(data_warnings(model, Batch({"a": wide / 128, "b": wide * 2}))) == 2


def test_images_that_are_the_other_way_round_are_told(tmp_path: Path) -> None:
    tensors = [T(n, (1, 4, 5, 3), "float32") for n in "xy"]
    path = tmp_path / "image.tflite"
    path.write_bytes(write_tflite(tensors, [Op("RELU", ["x"], ["y"])], ["x"], ["y"]))
    images = np.arange(120, dtype=np.float32).reshape(2, 4, 5, 3)
    settings = api.Settings(runtimes=("reference",))
    assert api.diff(path, path, Batch({"x": images}), settings).warnings == ()
    (told,) = api.diff(path, path, Batch({"x": images.transpose(0, 3, 1, 2)}), settings).warnings
    assert "(3, 4, 5) a sample" in told
    assert told.endswith("takes (4, 5, 3): they are read as NCHW → NHWC")


@pytest.mark.parametrize("name", ["x.npy", "x.py:array"])
def test_what_was_written_anew_is_read_anew(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts are kept open or made once for a question, under whatever name: not for the next one."""
    monkeypatch.chdir(tmp_path)
    for count in (3, 5):
        x = np.full((count, 2), count, np.float32)
        np.save("other.npy", x)
        Path("other.npy").rename("x.npy")
        Path("x.py").write_text("import numpy as np\ndef array(): return np.load('x.npy')\n")
        (source,) = InParts([name]).sources
        assert isinstance(source, Source)
        assert source.count() == count
        assert (source.rows(0, 2).arrays["x"] == count).all()
