"""The peer of ``quantdiff run``: the same steps as anybody would write them, with Keras' defaults.

One ``fit``, one ``evaluate`` and one ``predict`` per model, one ``invoke`` per image, twice over the test set:
once for the accuracy, once for the outputs. Called as ``plain_script.py MNIST_NPZ [LAYERS [SEED]]``.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import random
import sys
import warnings

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras as keras

warnings.simplefilter("ignore")
LAYERS = int(sys.argv[2]) if len(sys.argv) > 2 else 4
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else 3


def outputs_of(interpreter, images):  # noqa: ANN001, ANN201 (a script as people write it)
    given, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero_point = given["quantization"]
    outputs = []
    for image in images:
        steps = np.round(image[np.newaxis].astype(np.float32) / scale) + zero_point
        interpreter.set_tensor(given["index"], np.clip(steps, -128, 127).astype(np.int8))
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(result["index"])[0])
    scale, zero_point = result["quantization"]
    return (np.array(outputs).astype(np.float32) - zero_point) * scale


random.seed(SEED)
np.random.seed(SEED)  # noqa: NPY002
tf.random.set_seed(SEED)
with np.load(sys.argv[1]) as data:
    x_train, y_train = data["x_train"] / 255.0, data["y_train"]
    x_test, y_test = data["x_test"] / 255.0, data["y_test"]

compile_options = {
    "optimizer": "adam",
    "loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    "metrics": ["accuracy"],
}
dense = [keras.layers.Dense(10) for _ in range(LAYERS)]
baseline = keras.Sequential([keras.layers.InputLayer(input_shape=(28, 28)), keras.layers.Flatten(), *dense])
baseline.compile(**compile_options)
baseline.fit(x_train, y_train, epochs=1, validation_split=0.1)
qat = tfmot.quantization.keras.quantize_model(baseline)
qat.compile(**compile_options)
qat.fit(x_train[:1000], y_train[:1000], batch_size=500, epochs=1, validation_split=0.1)

converter = tf.lite.TFLiteConverter.from_keras_model(qat)
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([image[np.newaxis].astype(np.float32)] for image in x_train[:1000])
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
interpreter = tf.lite.Interpreter(model_content=converter.convert())
interpreter.allocate_tensors()

accuracies = [model.evaluate(x_test, y_test, verbose=0)[1] for model in (baseline, qat)]
accuracies.append((outputs_of(interpreter, x_test).argmax(axis=1) == y_test).mean())
results = {"baseline": baseline.predict(x_test, verbose=0), "qat": qat.predict(x_test, verbose=0)}
results["tflite"] = outputs_of(interpreter, x_test)
print("accuracy", accuracies)
for a, b in (("baseline", "qat"), ("baseline", "tflite"), ("qat", "tflite")):
    error = np.abs(results[a] - results[b])
    print(a, "vs", b, error.max(), error.mean(), (error > 0.01).mean())
