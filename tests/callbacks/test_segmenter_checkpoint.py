import pytest
import torch

from hedgeseg.callbacks import SegmenterCheckpoint
from hedgeseg.data import ShapesDataModule
from hedgeseg.models import Segmenter


class Pseudo(ShapesDataModule):
    """Scenes whose validation masks were made from labels."""

    def val_dataloader(self):
        loader = super().val_dataloader()
        plain = loader.collate_fn
        loader.collate_fn = lambda samples: {**plain(samples), "pseudo": torch.ones(len(samples), dtype=torch.bool)}
        return loader


@pytest.mark.parametrize(("data", "metric"), [(ShapesDataModule, "val/miou"), (Pseudo, "val/pseudo_miou")])
def test_the_best_epoch_by_what_there_is(make_trainer, tmp_path, data, metric):
    keeper = SegmenterCheckpoint(dirpath=str(tmp_path), filename="best")
    trainer = make_trainer(callbacks=[keeper], max_epochs=2, enable_checkpointing=True)
    trainer.fit(Segmenter(6), data(num_train=4, num_val=2, num_predict=2, batch_size=2, image_size=32))
    assert keeper.monitor == metric
    assert metric in trainer.callback_metrics
    assert (tmp_path / "best.ckpt").is_file()
    assert keeper.best_model_score is not None


def test_the_metric_is_not_for_the_user_to_choose():
    with pytest.raises(TypeError, match="chooses its metric itself"):
        SegmenterCheckpoint(monitor="val/loss")
