"""Data sets, and the way from their samples to batches.

What all share:
    samples                 Sample, SegmentationDataset, and View, the base of data sets that wrap another one
    labels                  names, colours and ids of classes

Reading files:
    images                  photos
    bands                   photos of any number of channels and values
    parts                   parts of photos and masks, without decoding the rest
    masks                   masks, as ids
    mask_colors             colours and palettes of masks, as ids
    stray_colors            which colours of masks are classes, for tools.scan_labels
    tiff, quiet             tags of TIFFs; silencing decoders

Data sets:
    pairs                   finding and reading pairs of files, the base of most of them
    camvid, voc, cityscapes, cityscapes_pairs, coco, folder, synthetic
    voc_download            download of VOC and SBD; download has the general part
    cityscapes_labels       label ids; cityscapes_scores has the scores of the benchmark
    coco_index              annotation files; coco_outlines has the pixels of outlines
    layout, splits          where the files of a user's folder are, and how lists divide them
    label_files, labelme    files that name classes; masks as outlines
    street_scene            world of the synthetic scenes; street_objects has what stands in it
    packed_strings          lists of paths that processes share

Between a data set and its batches:
    folds                   cross-validation
    resized, fitting        samples at the size of the network's input
    checking, statistics    checks before a training; counts of classes, mean and deviation of channels
    cache, cache_files      samples that are kept; files in datasets/.cache/
    fingerprint             whether two folders hold the same samples
    augmentation, cropping, mixing, sampling
    loading, workers        batches, and the processes that load them
    accumulation            batches grouped by optimiser step
    device_augmentation, device_cropping, device_loading     the same on the device that trains
"""
