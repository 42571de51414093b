"""Published data sets in miniature, in their real layouts, as tests write them."""

import json

import numpy as np
from PIL import Image

from hedgeseg.data import VOC_CLASSES


def voc_annotation(*objects):
    items = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin>"
        f"<xmax>{x1}</xmax><ymax>{y1}</ymax></bndbox></object>"
        for name, difficult, (x0, y0, x1, y1) in objects
    )
    return f"<annotation><size><width>40</width><height>30</height></size>{items}</annotation>"


def write_voc(parent, year=2012):
    """VOCdevkit/VOC<year> with three images: a cat, a cat with a difficult dog, a dog."""
    root = parent / "VOCdevkit" / f"VOC{year}"
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", "SegmentationClassAug"):
        (root / folder).mkdir(parents=True)
    cat, dog = ("cat", 0, (6, 5, 25, 24)), ("dog", 1, (30, 3, 39, 12))
    for name, objects in {"2007_01": (cat,), "2007_02": (cat, dog), "2008_03": (dog,)}.items():
        Image.fromarray(np.full((30, 40, 3), 90, np.uint8)).save(root / "JPEGImages" / f"{name}.jpg")
        (root / "Annotations" / f"{name}.xml").write_text(voc_annotation(*objects))
        mask = np.zeros((30, 40), np.uint8)
        for kind, _, (x0, y0, x1, y1) in objects:
            mask[y0 - 1 : y1, x0 - 1 : x1] = VOC_CLASSES.index(kind) + 1
        mask[0] = 255
        image = Image.fromarray(mask, mode="P")
        image.putpalette(list(range(256)) * 3)
        image.save(root / "SegmentationClass" / f"{name}.png")
        Image.fromarray(np.where(mask == 255, 0, mask).astype(np.uint8)).save(
            root / "SegmentationClassAug" / f"{name}.png"
        )
    lists = {
        "Segmentation/train": "2007_01\n2007_02\n",
        "Segmentation/val": "2008_03\n",
        "Segmentation/train_aug": "/JPEGImages/2007_01.jpg /SegmentationClassAug/2007_01.png\n",
        "Main/test": "2007_02\n",
        "Main/trainval": "2007_01\n2007_02\n2008_03\n",
        "Main/cat_train": "2007_01  1\n",
    }
    for name, text in lists.items():
        (root / "ImageSets" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "ImageSets" / f"{name}.txt").write_text(text)
    return root


def write_coco(root):
    """COCO 2014's layout: two training images and a validation image, each with a square car."""
    (root / "annotations").mkdir()
    for split, count in (("train", 2), ("val", 1)):
        (root / f"{split}2014").mkdir()
        images, objects = [], []
        for i in range(count):
            name = f"COCO_{split}2014_{i:012d}.jpg"
            Image.fromarray(np.full((20, 40, 3), 50, np.uint8)).save(root / f"{split}2014" / name)
            images.append({"id": i, "file_name": name, "width": 40, "height": 20})
            square = [[10, 5, 20, 5, 20, 15, 10, 15]]
            item = {"id": i, "image_id": i, "category_id": 3, "bbox": [10, 5, 10, 10], "area": 100, "iscrowd": 0}
            objects.append(item | {"segmentation": square})
        categories = [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}]
        content = {"images": images, "annotations": objects, "categories": categories}
        (root / "annotations" / f"instances_{split}2014.json").write_text(json.dumps(content))
    return root


def write_pets(parent):
    """An Abyssinian and a bulldog to learn from, a bulldog to test on."""
    root = parent / "oxford-iiit-pet"
    (root / "images").mkdir(parents=True)
    (root / "annotations" / "trimaps").mkdir(parents=True)
    for name in ("Abyssinian_1", "american_bulldog_2", "american_bulldog_3"):
        Image.fromarray(np.full((20, 30, 3), 80, np.uint8)).save(root / "images" / f"{name}.jpg")
        trimap = np.full((20, 30), 2, np.uint8)
        trimap[4:14, 5:25] = 3
        trimap[6:12, 8:22] = 1
        Image.fromarray(trimap).save(root / "annotations" / "trimaps" / f"{name}.png")
    (root / "annotations" / "trainval.txt").write_text("# name class\nAbyssinian_1 1 1 1\namerican_bulldog_2 2 2 1\n")
    (root / "annotations" / "test.txt").write_text("american_bulldog_3 2 2 1\n")
    return parent


def write_imagenet_s(parent):
    """Two classes with a picture each to learn from and to validate on."""
    for label, wnid in enumerate(("n01", "n02")):
        for split in ("train", "validation"):
            (parent / split / wnid).mkdir(parents=True)
            Image.fromarray(np.full((20, 30, 3), 60, np.uint8)).save(parent / split / wnid / f"{split}_{wnid}.JPEG")
        mask = np.zeros((20, 30, 3), np.uint8)
        mask[5:10, 6:12, 0] = label + 1
        mask[0] = (1000 % 256, 1000 // 256, 0)
        (parent / "validation-segmentation" / wnid).mkdir(parents=True)
        Image.fromarray(mask).save(parent / "validation-segmentation" / wnid / f"validation_{wnid}.png")
    return parent


MAT_NAMES = ("n02124075_1", "n01440764_22", "n02124075_3", "n99999999_4")  # the last is no class of the 1000


def mat_photograph(row):
    pixels = np.full((20 + row, 30, 3), 40 * row, np.uint8)
    pixels[5:15, 8:20] = (200, 100, row)
    return pixels


def mat_object(row):
    mask = np.zeros((20 + row, 30), np.uint8)
    mask[5:15, 8:20] = 1
    return mask


def write_mat(path, names=MAT_NAMES, columns=("id", "target")):
    """A miniature in the layout of MATLAB 7.3: references, arrays transposed, text as codes of 16 bits."""
    import h5py

    with h5py.File(path, "w", userblock_size=512) as file:
        store, value = file.create_group("#refs#"), file.create_group("value")

        def put(name, array):
            return store.create_dataset(name, data=array).ref

        def column(name, references):
            data = value.create_dataset(name, (len(references), 1), dtype=h5py.ref_dtype)
            data[:, 0] = references

        def text(name, string):
            return put(name, np.array([[ord(c)] for c in string], np.uint16))

        def cell(name, reference):
            data = store.create_dataset(name, (1, 1), dtype=h5py.ref_dtype)
            data[0, 0] = reference
            return data.ref

        rows = range(len(names))
        column("img", [put(f"i{row}", mat_photograph(row).transpose(2, 1, 0)) for row in rows])
        column("gt", [cell(f"c{row}", put(f"m{row}", mat_object(row).T)) for row in rows])
        if "id" in columns:
            column("id", [text(f"n{row}", names[row]) for row in rows])
        if "target" in columns:
            column("target", [text(f"t{row}", names[row][:9]) for row in rows])
    return path


def write_wnids(path):
    """A list of the 1000 ids in which the two classes of the miniature have the places 3 and 700."""
    order = [f"n1{number:07d}" for number in range(1000)]
    order[3], order[700] = "n01440764", "n02124075"
    path.write_text("\n".join(f"{wnid} some name, another" for wnid in order))
    return str(path)


CATEGORIES = [{"id": 7, "name": "fish"}, {"id": 3, "name": "crab"}]  # out of order, with gaps: crab is class 0


def polygon(x0, y0, x1, y1):
    return [[x0, y0, x1, y0, x1, y1, x0, y1]]


def write_coco_folder(root, images=4, masks=False, categories=CATEGORIES):
    """A COCO folder of 40 x 30 pictures, each with a fish at (5+i, 4)-(25+i, 24) and, in every other one, a crab."""
    (root / "images").mkdir(parents=True)
    entries, annotations = [], []

    def add(image_id, category, box, **more):
        x0, y0, x1, y1 = box
        item = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category, "iscrowd": 0}
        item |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "segmentation": polygon(*box)}
        annotations.append(item | more)

    for i in range(images):
        pixels = np.full((30, 40, 3), 10 * i, np.uint8)
        pixels[4:24, 5 + i : 25 + i] = 200
        Image.fromarray(pixels).save(root / "images" / f"{i:03d}.png")
        entries.append({"id": 100 + i, "file_name": f"{i:03d}.png", "width": 40, "height": 30})
        add(100 + i, 7, (5 + i, 4, 25 + i, 24))
        if i % 2:
            add(100 + i, 3, (10, 8, 14, 12))
        if masks:
            (root / "masks").mkdir(exist_ok=True)
            ids = np.zeros((30, 40), np.uint8)
            ids[4:24, 5 + i : 25 + i] = 2
            ids[4] = 255
            Image.fromarray(ids).save(root / "masks" / f"{i:03d}.png")
    content = {"images": entries, "annotations": annotations, "categories": categories}
    write_instances(root, content)
    return content


def write_instances(root, content):
    (root / "instances.json").write_text(json.dumps(content))
