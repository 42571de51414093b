"""Data sets, data modules and the batch layout that all of them share.

| data                       | data module                      | labels   | boxes | masks                          |
|----------------------------|----------------------------------|----------|-------|--------------------------------|
| embedded scenes            | `ShapesDataModule`               | several  | yes   | yes                            |
| PASCAL VOC 2007, 2012      | `VocDataModule`                  | several  | yes   | of the segmentation lists, SBD |
| COCO 2014, 2017            | `CocoDataModule`                 | several  | yes   | painted, or of a folder        |
| any folder in COCO format  | `CocoFolderDataModule`           | several  | yes   | painted, or of a folder        |
| class folders, or a CSV    | `FolderDataModule`               | one, any | no    | of a folder, if it is there    |
| ImageNet-Segmentation      | `ImageNetSegmentationDataModule` | one      | yes   | yes                            |
| ImageNet-S 50, 300, 919    | `ImageNetSDataModule`            | one      | no    | of the validation images       |
| Oxford-IIIT Pet            | `PetDataModule`                  | one      | yes   | yes                            |

ImageNet's validation images in class folders are read by `FolderDataModule`.
"""

from hedgeseg.data.batch import VOID, WIDE_VOID, Batch, Sample, collate, void_id
from hedgeseg.data.coco import CocoFolder, CocoFolderDataModule
from hedgeseg.data.coco_splits import CocoDataModule
from hedgeseg.data.dataset import ImageSubset, LabelledImages
from hedgeseg.data.describe import Description, describe
from hedgeseg.data.folder import FolderDataModule
from hedgeseg.data.imagenet_classes import imagenet_wnids
from hedgeseg.data.imagenet_s import ImageNetSDataModule
from hedgeseg.data.imagenet_segmentation import ImageNetSegmentation, ImageNetSegmentationDataModule
from hedgeseg.data.module import ImageDataModule
from hedgeseg.data.pet import PetDataModule
from hedgeseg.data.pictures import Pictures, PicturesDataModule, picture_files
from hedgeseg.data.pseudo_masks import PseudoMaskDataModule, PseudoMasked
from hedgeseg.data.published import PublishedDataModule
from hedgeseg.data.records import Record, RecordedImages
from hedgeseg.data.report import LoadReport
from hedgeseg.data.selection import SelectedClasses, SelectedDataModule
from hedgeseg.data.shapes import Shapes, ShapesDataModule
from hedgeseg.data.sheet import sample_sheet
from hedgeseg.data.transforms import IMAGENET_MEAN, IMAGENET_STD, eval_transform, train_transform
from hedgeseg.data.voc import VocDataModule
from hedgeseg.data.voc_classes import VOC_CLASSES

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "VOC_CLASSES",
    "VOID",
    "WIDE_VOID",
    "Batch",
    "CocoDataModule",
    "CocoFolder",
    "CocoFolderDataModule",
    "Description",
    "FolderDataModule",
    "ImageDataModule",
    "ImageNetSDataModule",
    "ImageNetSegmentation",
    "ImageNetSegmentationDataModule",
    "ImageSubset",
    "LabelledImages",
    "LoadReport",
    "PetDataModule",
    "Pictures",
    "PicturesDataModule",
    "PseudoMaskDataModule",
    "PseudoMasked",
    "PublishedDataModule",
    "Record",
    "RecordedImages",
    "Sample",
    "SelectedClasses",
    "SelectedDataModule",
    "Shapes",
    "ShapesDataModule",
    "VocDataModule",
    "collate",
    "describe",
    "eval_transform",
    "imagenet_wnids",
    "picture_files",
    "sample_sheet",
    "train_transform",
    "void_id",
]
