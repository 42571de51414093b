"""Evaluates on one and on two processes into folders of their own. Run by test_evaluation.py."""

from two_processes import both, trainer

from hedgeseg.callbacks import Evaluation
from hedgeseg.data import ShapesDataModule
from hedgeseg.evaluation import Protocol
from hedgeseg.models import Classifier

METHODS = ["hedge", "grad_cam", "random limit=3"]
PROTOCOL = Protocol(
    metrics=(
        "pointing_game",
        "pixel_average_precision",
        "seed_curve",
        "class_discrimination",
        "insertion",
        "randomization_sanity",
    ),
    seed_bins=8,
    steps=4,
    perturbed_images=3,
    randomized_images=2,
    randomized_layers=2,
)


def evaluate(folder, devices):
    # An odd number: a distributed loader fills up with an image that the other process has too.
    data = ShapesDataModule(num_train=2, num_val=5, num_predict=2, image_size=32, batch_size=2, num_workers=0)
    evaluation = Evaluation(folder, METHODS, PROTOCOL, plots=False)
    trainer(folder, devices, evaluation).test(Classifier(6), datamodule=data, verbose=False)


if __name__ == "__main__":
    both(evaluate)
