"""One synthetic set and one cache of features for all trainings of a session."""

import pytest

from dealseg.data import open_dataset
from dealseg.data.synthetic import write_synthetic
from dealseg.training import train


@pytest.fixture(scope="session")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("training") / "scenes"
    write_synthetic(root, images=16, val_images=4, size=64, progress=False)
    return root


@pytest.fixture(scope="session")
def dataset(scenes):
    return open_dataset(scenes, split="train")


@pytest.fixture(scope="session")
def features(tmp_path_factory):
    return tmp_path_factory.mktemp("features")


@pytest.fixture(scope="session")
def trained(dataset, features, tmp_path_factory):
    """Return a function that trains undisturbed, once a configuration, and gives the run."""
    runs = {}

    def run_of(config):
        if config not in runs:
            out = tmp_path_factory.mktemp("run")
            runs[config] = train(dataset, out, config, cache_dir=features)
        return runs[config]

    return run_of
