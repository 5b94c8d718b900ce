"""Meshes, fields and the conversions between them."""
