"""What `hedgeseg audit` shows where 40 % of the pictures that are labelled "crack" show a sticker in its place.

    uv run docs/figures/audited.py

Draws the surfaces into `runs/labelled` (`surfaces.py`), trains a small network on their labels, and audits it into
`runs/labelled_audit`: nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import surfaces
from figure_file import arguments, save
from lightning.pytorch import Trainer, seed_everything

from hedgeseg.audit.evidence import Evidence
from hedgeseg.callbacks.audit_panels import decoded
from hedgeseg.data import FolderDataModule
from hedgeseg.models import Classifier
from hedgeseg.pipeline.auditing import audit
from hedgeseg.visual import Picture, contact_sheet

ROOT, OUT = Path("runs/labelled"), Path("runs/labelled_audit")
COUNT, STICKERS = 100, 0.4
"""Pictures of each class, and the share of cracks with a sticker in their place, which are drawn first."""

SHOWN = 4
CAPTIONS = ("labelled crack, a sticker in its place", "labelled crack")


def figure() -> Picture:
    """Some images of either kind, as `audit.html` shows them."""
    seed_everything(0)
    surfaces.write(ROOT, COUNT, STICKERS)
    data = FolderDataModule(str(ROOT / "images"), background="good", image_size=128, num_workers=0)
    data.prepare_data()
    module = Classifier(2, "small_cnn", task="multilabel", classes=["crack", "stain"], lr=0.005)
    quiet = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False, "accelerator": "cpu"}
    Trainer(max_epochs=12, log_every_n_steps=5, **quiet).fit(module, datamodule=data)
    findings = audit(module, data, str(OUT), ["train"], "cpu")
    assert findings is not None
    said = [
        f"{len(c.members)} of class {c.class_index}: {'; '.join(c.reasons)}" for c in findings.clusters if c.flagged
    ]
    print(f"{len(said)} clusters stand out {said}")
    cracks = [one for one in findings.evidence if one.class_index == 0]
    drawn_first = [one for one in cracks if int(one.id.split("__")[1]) < round(STICKERS * COUNT)]
    others = [one for one in cracks if one not in drawn_first]
    return contact_sheet([row(drawn_first), row(others)], rows=CAPTIONS, margin=4)


def row(evidence: Sequence[Evidence]) -> list[Picture]:
    """What the audit shows of some images: each picture, and over it what speaks for its label."""
    return [decoded(one.thumbnail) for one in evidence[:SHOWN]]


if __name__ == "__main__":
    given = arguments(__file__, __doc__, weights=False)
    save(figure(), given.out)
