"""ParityCallback: what it logs is the truth, and the training is the same without it, to the last bit."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantdiff import Settings, api
from quantdiff.errors import BadData
from quantdiff.experiment.callback import Gap, settled
from quantdiff.experiment.zoo import save_models
from quantdiff.references.keras.frameworks import frameworks, quiet, tfmot

DATA = np.random.default_rng(0)
X, Y = DATA.random((48, 6), np.float32), DATA.integers(0, 3, 48)


@pytest.fixture(autouse=True)
def few_calibration_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quantdiff.experiment.callback.CALIBRATED_ON", 8)


def callback(*arguments: Any, **options: Any) -> Any:
    from quantdiff import ParityCallback

    return ParityCallback(*arguments, **options)


def build(*, quantized: bool = True, eagerly: bool = False) -> Any:
    """Layers whose training state a clumsy conversion would touch: a norm's averages, seeded and unseeded dropout."""
    keras = frameworks().keras
    keras.utils.set_random_seed(5)
    layers = [
        keras.layers.InputLayer(input_shape=(6,)),
        keras.layers.Dense(4, activation="relu"),
        keras.layers.Dropout(0.3, seed=7),
        keras.layers.Dropout(0.1),
        *([] if quantized else [keras.layers.BatchNormalization()]),
        keras.layers.Dense(3),
    ]
    model = keras.Sequential(layers)
    if quantized:
        with quiet():
            model = tfmot().quantization.keras.quantize_model(model)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, run_eagerly=eagerly)
    return model


def fit(model: Any, *callbacks: Any, epochs: int = 3) -> Any:
    with quiet():
        return model.fit(X, Y, batch_size=16, epochs=epochs, verbose=0, callbacks=list(callbacks))


@pytest.mark.keras
@pytest.mark.golden
@pytest.mark.parametrize(("quantized", "eagerly"), [(True, False), (False, True)])
def test_the_training_is_the_same_with_and_without_it_and_nothing_is_left(
    quantized: bool, eagerly: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(children())
    plain = build(quantized=quantized, eagerly=eagerly)
    alone = fit(plain, epochs=2).history["loss"]
    watched = build(quantized=quantized, eagerly=eagerly)
    watching = callback((X, Y))
    assert fit(watched, watching, epochs=2).history["loss"] == alone
    assert len(watching.gaps) == 2
    for ours, theirs in ((plain.weights, watched.weights), (plain.optimizer.variables, watched.optimizer.variables)):
        assert len(ours) == len(theirs) > 0
        assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(ours, theirs, strict=True))
    assert set(children()) == before
    assert not list(tmp_path.glob("quantdiff-*"))


@pytest.mark.keras
@pytest.mark.golden
def test_the_last_figures_are_those_of_diff(tmp_path: Path) -> None:
    from quantdiff.experiment.zoo import convert

    model = build()
    watching = callback({"x": X, "y": Y}, every=5, runtime="reference", log_dir=tmp_path / "board")
    history = fit(model, watching, frameworks().keras.callbacks.CSVLogger(str(tmp_path / "log.csv")), epochs=2).history
    save_models(tmp_path, {"qat.h5": model})
    (tmp_path / "model.tflite").write_bytes(convert(model, X[:8]))
    np.savez(tmp_path / "data.npz", allow_pickle=False, x=X, y=Y)
    keras, tflite, data = (tmp_path / name for name in ("qat.h5", "model.tflite", "data.npz"))
    outcome = api.diff(keras, tflite, data, Settings(runtimes=("reference",)))
    figures = outcome.comparisons[0].figures
    assert figures.differing is not None
    wanted = [figures.differing / figures.count, figures.max_steps, *outcome.accuracy.values()]
    names = [f"parity_{name}" for name in ("differing", "max_steps", "accuracy_keras", "accuracy_tflite")]
    assert [history[name][-1] for name in names] == wanted
    assert sorted(watching.gaps) == [1]  # the last epoch, whatever ``every`` says
    assert np.isnan(history["parity_differing"][0])
    rows = list(csv.DictReader((tmp_path / "log.csv").read_text().splitlines()))
    assert [float(row["parity_differing"]) for row in rows[1:]] == history["parity_differing"][1:]
    assert scalars(tmp_path / "board", names) == {(1, name): np.float32(history[name][1]) for name in names}


def scalars(board: Path, names: list[str]) -> dict[tuple[int, str], float]:
    """Every scalar in the one event file of a folder."""
    from tensorflow.core.util import event_pb2  # type: ignore[import-untyped,unused-ignore]

    (file,) = board.iterdir()
    found = {}
    for record in frameworks().tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
        event = event_pb2.Event.FromString(record)
        for value in event.summary.value:
            assert value.metadata.plugin_data.plugin_name == "scalars"
            assert value.tag in names
            found[event.step, value.tag] = frameworks().tf.make_ndarray(value.tensor).item()
    return found


@pytest.mark.keras
@pytest.mark.golden
def test_a_settled_gap_stops_the_training(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = iter([0.5, 0.1, 0.1004, 0.0998, 0.3])
    gap = "quantdiff.experiment.callback.measure_gap"
    monkeypatch.setattr(gap, lambda *_: Gap(differing=next(shares), max_steps=1))
    assert len(fit(build(), callback(X, patience=2), epochs=9).history["loss"]) == 4


def test_settled_means_close_together_for_patience_measurements_more() -> None:
    assert not settled([0.1, 0.1], 2, 1.0)
    assert settled([0.9, 0.1, 0.1, 0.11], 2, 0.02)
    assert not settled([0.1, 0.1, 0.13], 2, 0.02)
    assert not settled([0.1, None, 0.1], 2, 0.02)
    assert settled([0.0, 0.0], 1, 0.0)


@pytest.mark.keras
@pytest.mark.golden
def test_a_measurement_that_fails_is_a_warning_and_the_training_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> Gap:
        raise BadData("no such luck\nand more")

    monkeypatch.setattr("quantdiff.experiment.callback.measure_gap", crash)
    model, watching = build(), callback(X, every=2, patience=1)
    with pytest.warns(UserWarning, match=r"epoch 2: the gap could not be measured: no such luck$"):
        history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[watching]).history
    assert np.isnan(history["parity_max_steps"]).all()
    assert "parity_accuracy_keras" not in history  # no labels, no accuracy


def children() -> Iterator[str]:
    """Process ids of living children of this process, and of theirs; the one that forks stays."""
    left = [Path("/proc/self/task")]
    while left:
        for tasks in left.pop().glob("*/children"):
            for pid in tasks.read_text().split():
                left.append(Path(f"/proc/{pid}/task"))
                if b"quantdiff.run.forkserver" not in Path(f"/proc/{pid}/cmdline").read_bytes():
                    yield pid


@pytest.mark.keras
@pytest.mark.golden
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: callback(X[:0]), "empty"),
        (lambda: callback(np.full((2, 6), np.nan)), "NaN"),
        (lambda: callback("none.npz"), "no such data file"),
        (lambda: callback(X, runtime="gpu"), "there are xnnpack"),
        (lambda: callback(X, every=0), "1 or more"),
        (lambda: callback(X, patience=0), "1 or more"),
        (lambda: callback(X, min_delta=float("nan")), "0 or more"),
        (lambda: fit(build(), callback(X[:, :5])), "do not fit"),
        (lambda: fit(build(), callback(X, calibration=X[:, :5])), "do not fit"),
    ],
)
def test_bad_input_is_refused_before_the_training(make: Callable[[], Any], words: str) -> None:
    with pytest.raises((BadData, ValueError), match=words):
        make()


def test_the_name_costs_nothing_until_it_is_used() -> None:
    code = "import quantdiff, sys; quantdiff.Settings; print('tensorflow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
