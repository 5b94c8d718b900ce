"""Ötüken3D in JAX: Turkish text to closed 3D meshes of Turkish art."""
