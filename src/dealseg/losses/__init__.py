"""Losses: one file each, a pure function that scores each image alone and a thin Module."""
