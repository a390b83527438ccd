"""Puts this folder on the path (pytest does so for a conftest), so that tests import `oracles`."""
