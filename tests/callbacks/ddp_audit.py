"""Audits on two processes and on one into folders of their own: `ddp_audit.py FOLDER`."""

from callback_scenes import Classifier, Scenes, small_network
from torch.utils.data import DataLoader
from two_processes import both, trainer

from hedgeseg.callbacks import DatasetAudit


def audit(folder, devices):
    # An odd number: a distributed loader fills up with an image that the other process has too.
    data = DataLoader(Scenes(33), batch_size=4)
    trainer(folder, devices, DatasetAudit(folder)).validate(Classifier(small_network()), data, verbose=False)


if __name__ == "__main__":
    both(audit)
