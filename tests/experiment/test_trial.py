"""Trials name a model of the zoo, or are refused before anything heavy is loaded."""

import pytest

from quantdiff.errors import BadModel
from quantdiff.experiment.trial import Trial, depth


def test_names() -> None:
    assert Trial().name == "dense4-seed3"
    assert Trial(model="CNN", seed=0, bias=False).name == "CNN-seed0-nobias"


@pytest.mark.parametrize(("model", "layers"), [("CNN", 0), ("dense1", 1), ("dense12", 12)])
def test_depth(model: str, layers: int) -> None:
    assert depth(model) == layers


@pytest.mark.parametrize("model", ["dense0", "dense", "cnn", "dense-1", "dense4 ", "resnet", "dense1000"])
def test_models_that_the_zoo_does_not_have(model: str) -> None:
    with pytest.raises(BadModel, match="there are CNN and dense1"):
        Trial(model=model)
