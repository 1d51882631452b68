"""Crashes and hangs of a runtime become errors; the process that asked goes on."""

from __future__ import annotations

import signal
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
import small_models as models

from quantdiff.errors import RuntimeCrashed, RuntimeFailed, RuntimeHung
from quantdiff.quant import Grid, QuantParams, Value
from quantdiff.run.process import on_one_line
from quantdiff.run.runner import VIEWS, Measured, RuntimeProcess
from quantdiff.tally.rows import row_sums

pytestmark = pytest.mark.golden

FOUR = np.ones((2, 4), np.float32)


def ignore(done: int) -> None:
    del done


@pytest.mark.parametrize("runtime", ["reference", "builtin", "xnnpack"])
def test_an_abort_is_named_with_runtime_model_and_signal(tmp_path: Path, runtime: str) -> None:
    with RuntimeProcess(runtime) as process, pytest.raises(RuntimeCrashed, match=r"on bad.tflite crashed") as error:
        process.load(models.save(tmp_path, models.ABORTS, "bad.tflite"))
    assert str(error.value).startswith(f"{runtime} on bad.tflite crashed (SIGABRT")


def test_a_hang_ends_with_the_time_limit(tmp_path: Path) -> None:
    with RuntimeProcess("reference") as process:
        process.load(models.save(tmp_path, models.hangs(), "loop.tflite"), batch=False)
        process.timeout = 0.1  # now that the child has said that the model is there, which may take any time
        with pytest.raises(RuntimeHung, match=r"reference on loop.tflite said nothing for 0.1 s"):
            process.run([FOUR], 1, ignore)
        assert process.talk.process.child.wait() == -signal.SIGKILL


def test_a_custom_op_is_named(tmp_path: Path) -> None:
    with RuntimeProcess("xnnpack") as process, pytest.raises(RuntimeFailed, match="Bamboozle"):
        process.load(models.save(tmp_path, models.custom()))


@pytest.mark.parametrize(
    ("op", "said"),
    [
        ("edgetpu-custom-op", "the file comes from the Edge TPU compiler: give the one that it was made from"),
        ("FlexTensorListReserve", "this package has no TensorFlow inside: convert without SELECT_TF_OPS"),
    ],
)
def test_a_custom_op_of_somebody_known_is_said_to_be_that(tmp_path: Path, op: str, said: str) -> None:
    with RuntimeProcess("xnnpack") as process, pytest.raises(RuntimeFailed, match=f"{said}, .* recorded:DUMP$|{said} "):
        process.load(models.save(tmp_path, models.custom(op)))


@pytest.mark.parametrize("runtime", ["reference", "tflm"])
def test_after_a_failure_the_same_process_takes_another_model(tmp_path: Path, runtime: str) -> None:
    with RuntimeProcess(runtime) as process:
        with pytest.raises(RuntimeFailed):
            process.load(models.save(tmp_path, models.custom(), "custom.tflite"))
        process.load(models.save(tmp_path, models.add(), "good.tflite"))
        outputs, _ = process.run([np.full((2, 4), 3, np.int8), np.full((2, 4), 4, np.int8)], 1, ignore)
    assert outputs[0].tolist() == [[7] * 4] * 2


def test_outputs_are_counted_where_they_are(tmp_path: Path) -> None:
    halves = QuantParams((0.5,), (1,))
    grid = Grid(halves, "int8", "y")
    x, other = np.full((3, 4), 3, np.int8), np.arange(12, dtype=np.int8).reshape(3, 4)
    theirs = Value("t", np.arange(12, dtype=np.float32).reshape(3, 4))
    with RuntimeProcess("reference") as process:
        process.load(models.save(tmp_path, models.add()))
        (sums,) = process.run([x, other], 1, ignore)[0]
        for kept in (True, False):
            pairs = [Measured(0, theirs, halves, grid), Measured(0, Value("t", sums, halves, grid), halves, grid)]
            outputs, (apart, same) = process.measure([x, other], [kept], pairs)
            assert [array.tolist() for array in outputs] == [sums.tolist()] * kept
            assert np.array_equal(apart.packed, row_sums(Value("y", sums, halves, grid), theirs, grid).packed)
            assert not same.counts[:, :6].any()
        with pytest.raises(RuntimeFailed, match="shapes differ"):
            process.measure([x, other], [False], [Measured(0, Value("t", theirs.array[:, :3]), halves, grid)])


def test_a_child_reads_what_another_one_wrote(tmp_path: Path) -> None:
    with RuntimeProcess("reference") as one, RuntimeProcess("reference") as other:
        for process in (one, other):
            process.load(models.save(tmp_path, models.add()))
        for value in (3, 5):  # two turns use memory of their own
            (seen,) = one.view([np.full((2, 4), value, np.int8), np.zeros((2, 4), np.int8)], 1)
            (sums,), _ = other.run([seen, seen], 1, ignore)
            assert np.array_equal(sums, 2 * np.asarray(seen))
        assert other._parcel._own is None  # nothing was copied


def test_views_hold_while_later_ones_are_made(tmp_path: Path) -> None:
    """As many as ``diff --layers`` has in use: two slices that are measured, and the next one that runs."""
    with RuntimeProcess("reference") as process:
        process.load(models.save(tmp_path, models.add()))
        zeros = np.zeros((2, 4), np.int8)
        (first,) = process.view([zeros, zeros], 1)
        before = np.array(first)
        later = [process.view([np.full((2, 4), value, np.int8), zeros], 1)[0] for value in range(3, 3 + VIEWS)]
        assert not any(np.array_equal(before, array) for array in later)
        assert not np.array_equal(before, first)  # whose memory serves again by now
        assert len({array.tobytes() for array in later}) == VIEWS


def test_a_child_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    started: list[RuntimeProcess] = []
    thread = threading.Thread(target=lambda: started.append(RuntimeProcess("reference")))
    thread.start()
    thread.join()
    with started[0] as process:
        process.load(models.save(tmp_path, models.add()))
        outputs, _ = process.run([np.full((2, 4), 3, np.int8), np.full((2, 4), 4, np.int8)], 1, ignore)
    assert outputs[0].tolist() == [[7] * 4] * 2


def test_nothing_has_a_name_that_could_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    path = models.save(tmp_path, models.add())
    process = RuntimeProcess("reference")
    process.load(path)
    four = np.zeros((2, 4), np.int8)
    process.view([four, four], 1)
    held = [*Path(f"/proc/{process.talk.process.child.pid}/map_files").iterdir()]
    assert not [file for file in held if "/dev/shm/" in str(file.readlink())]
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    process.close()
    assert [*tmp_path.iterdir()] == [path]
    assert process.talk.process.child.poll() is not None


def test_words_of_native_code_cannot_steer_the_terminal() -> None:
    assert on_one_line("a\n\x1b[31mb  c") == "a ?[31mb c"
