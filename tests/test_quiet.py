"""Commands leave out what other libraries say to nobody, and nothing of their own."""

import logging
import warnings

import pytest

from hedgeseg.quiet import as_notes, quiet


def said(category, text, module):
    """Whether a warning of a module is shown inside `quiet`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet():
            warnings.warn_explicit(text, category, f"{module}.py", 1, module=module)
    return bool(caught)


@pytest.mark.parametrize(
    ("category", "text", "module", "shown"),
    [
        (FutureWarning, "`isinstance(treespec, LeafSpec)` is deprecated", "lightning.pytorch.utilities._pytree", False),
        (DeprecationWarning, "old", "torchmetrics.detection", False),
        (DeprecationWarning, "old", "torchvision_of_mine", True),
        (FutureWarning, "old", "hedgeseg.seeds", True),
        (UserWarning, "The 'val_dataloader' does not have many workers which may be a bottleneck", "lightning", False),
        (UserWarning, "Found 52 module(s) in eval mode at the start of training. This may", "lightning.pytorch", False),
        (UserWarning, "Checkpoint directory exists and is not empty", "lightning", True),
        (UserWarning, "3 seeds are left out", "hedgeseg.seeds.score", True),
    ],
)
def test_warnings(category, text, module, shown):
    assert said(category, text, module) is shown


def test_a_warning_is_a_line_without_code():
    def written(category):
        return warnings.formatwarning("3 seeds are left out", category, "score.py", 7, "warn(text)")

    with as_notes():
        assert written(UserWarning) == "note: 3 seeds are left out\n"
        assert written(FutureWarning) == "score.py:7: FutureWarning: 3 seeds are left out\n"
    assert "score.py:7: UserWarning: 3 seeds are left out" in written(UserWarning)


def test_remarks_of_lightning(monkeypatch):
    logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
    told = [
        "💡 Tip: try our cloud",
        "You are using a CUDA device ('A') that has Tensor Cores. To properly utilize them",
        "Seed set to 0",
        "SeedWriter: 8 written",
        "GPU available: True (cuda), used: True",
    ]
    shown = []
    handler = logging.Handler()
    handler.emit = lambda record: shown.append(record.getMessage())
    monkeypatch.setattr(logger, "handlers", [handler])
    monkeypatch.setattr(logger, "level", logging.INFO)
    with quiet():
        for text in told:
            logger.info(text)
    assert shown == told[3:]
    logger.info(told[0])
    assert shown[-1] == told[0]


def test_which_gpu_a_process_has_is_said_by_a_logger_of_its_own(caplog):
    logger = logging.getLogger("lightning.pytorch.accelerators.cuda")
    with quiet(), caplog.at_level(logging.INFO, logger.name):
        logger.info("LOCAL_RANK: 0 - CUDA_VISIBLE_DEVICES: [0]")
        logger.info("another remark")
    assert [record.message for record in caplog.records] == ["another remark"]
