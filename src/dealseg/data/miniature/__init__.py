"""Tiny copies, made from a seed, of public data sets in the layout they have on disk."""
