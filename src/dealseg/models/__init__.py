"""CAM networks behind one small interface."""
