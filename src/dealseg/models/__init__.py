"""CAM networks behind one small interface."""

from dealseg.models.base import CamModel, CamOutput
from dealseg.models.registry import METHODS, create
from dealseg.models.runs import Run, load_run
from dealseg.models.seam import Seam
from dealseg.models.timm_cam import TimmCam
from dealseg.models.weaktr import WeakTr

__all__ = [
    "METHODS",
    "CamModel",
    "CamOutput",
    "Run",
    "Seam",
    "TimmCam",
    "WeakTr",
    "create",
    "load_run",
]
