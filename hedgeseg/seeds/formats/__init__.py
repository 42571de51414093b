"""Seed and mask files of the tools of the field, read and written. Knows arrays, nothing of how a map was made."""

from hedgeseg.seeds.formats.class_scores import ClassScores
from hedgeseg.seeds.formats.clip_es import read_clip_es, write_clip_es
from hedgeseg.seeds.formats.coco import coco_instances, read_coco, write_coco
from hedgeseg.seeds.formats.files import identifiers
from hedgeseg.seeds.formats.irn import read_irn, write_irn
from hedgeseg.seeds.formats.native import has_scores, has_seed, read_seed, write_seed
from hedgeseg.seeds.formats.palette import read_mask, write_mask
from hedgeseg.seeds.formats.psa import read_psa, read_psa_crf, write_psa, write_psa_crf
from hedgeseg.seeds.formats.wsol import read_wsol, write_wsol

__all__ = [
    "ClassScores",
    "coco_instances",
    "has_scores",
    "has_seed",
    "identifiers",
    "read_clip_es",
    "read_coco",
    "read_irn",
    "read_mask",
    "read_psa",
    "read_psa_crf",
    "read_seed",
    "read_wsol",
    "write_clip_es",
    "write_coco",
    "write_irn",
    "write_mask",
    "write_psa",
    "write_psa_crf",
    "write_seed",
    "write_wsol",
]
