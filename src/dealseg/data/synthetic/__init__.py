"""A tabletop filmed by an RGB-D camera, rendered from a seed: fixture, demo, install check.

Ten classes and untagged distractors on five surfaces under varied light. Pairs of classes share
body and print and differ by a label or a cap (partial activation); some classes sit mostly on one
surface (co-occurring context). NumPy alone; see `docs/synthetic.md`.
"""

from dealseg.data.synthetic.film import Picture, film_scene
from dealseg.data.synthetic.sensor import DepthSensor, measure
from dealseg.data.synthetic.things import CLASSES
from dealseg.data.synthetic.write import write_synthetic

__all__ = ["CLASSES", "DepthSensor", "Picture", "film_scene", "measure", "write_synthetic"]
