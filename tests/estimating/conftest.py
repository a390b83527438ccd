"""Tiny networks for all tests here, saved once; no test may ask the hub."""

import pytest


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


@pytest.fixture(scope="session")
def networks(tmp_path_factory):
    """Give the folder of a tiny network by its name in `tiny_networks.NETWORKS`."""
    from tiny_networks import save_network

    saved = {}

    def folder(name):
        if name not in saved:
            saved[name] = save_network(name, tmp_path_factory.mktemp("networks") / name)
        return saved[name]

    return folder
