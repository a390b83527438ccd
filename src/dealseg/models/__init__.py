"""CAM networks behind one small interface."""

from dealseg.models.base import CamModel, CamOutput
from dealseg.models.registry import METHODS, create
from dealseg.models.runs import Run, load_run
from dealseg.models.timm_cam import TimmCam

__all__ = ["METHODS", "CamModel", "CamOutput", "Run", "TimmCam", "create", "load_run"]
