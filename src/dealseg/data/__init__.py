"""Data sets in the layouts people have on disk, read lazily, depth always with its validity."""
