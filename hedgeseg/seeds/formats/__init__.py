"""Seed and mask files of the tools of the field, read and written. Knows arrays, nothing of how a map was made."""

from hedgeseg.seeds.formats.files import identifiers
from hedgeseg.seeds.formats.native import has_seed, read_seed, write_seed
from hedgeseg.seeds.formats.palette import read_mask, write_mask

__all__ = ["has_seed", "identifiers", "read_mask", "read_seed", "write_mask", "write_seed"]
