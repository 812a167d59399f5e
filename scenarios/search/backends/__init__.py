"""Backends of the search, one file each, all of the shape in `protocol`."""
