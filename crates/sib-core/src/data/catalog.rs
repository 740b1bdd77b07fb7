//! What the datasets are, where they are published, and what to unpack.

use super::{
    DatasetName, cifar100, cub200, dogs, folder, imagenet, pets,
    synthetic::{self, SyntheticOptions},
};

/// A dataset in words, for users who want to get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Full name.
    pub title: &'static str,
    /// Publication.
    pub reference: &'static str,
    /// Number of classes; `None` where that is the user's own.
    pub classes: Option<usize>,
    /// Number of training images, as published.
    pub train_images: Option<usize>,
    /// Number of test images, as published.
    pub test_images: Option<usize>,
    /// What is known of where the object is.
    pub annotations: &'static str,
    /// Size of the download.
    pub size: &'static str,
    /// Terms of use.
    pub licence: &'static str,
    /// Web page.
    pub published: &'static str,
    /// Archives to unpack, and into which folder.
    pub unpack: &'static str,
    /// What must then be under the root.
    pub layout: &'static str,
}

/// The description of a dataset.
pub fn describe(name: DatasetName) -> Description {
    match name {
        DatasetName::Cifar100 => Description {
            title: "CIFAR-100, binary version",
            reference: "Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images",
            classes: Some(100),
            train_images: Some(50_000),
            test_images: Some(10_000),
            annotations: "none",
            size: "161 MB",
            licence: "none stated; its authors ask to be cited",
            published: "https://www.cs.toronto.edu/~kriz/cifar.html",
            unpack: "cifar-100-binary.tar.gz; root is the folder cifar-100-binary",
            layout: cifar100::LAYOUT,
        },
        DatasetName::ImageNet => Description {
            title: "ImageNet (ILSVRC2012)",
            reference: "Russakovsky et al. 2015, doi:10.1007/s11263-015-0816-y",
            classes: Some(1000),
            train_images: Some(1_281_167),
            test_images: Some(50_000),
            annotations: "boxes of the validation images, and of part of the training images",
            size: "138 GB training images, 6.3 GB validation images, 2 MB boxes",
            licence: "non-commercial research and education, after registration",
            published: "https://www.image-net.org/download.php",
            unpack: "ILSVRC2012_img_train.tar into train/, one folder a class; \
                     ILSVRC2012_img_val.tar into val/, sorted into folders by class; \
                     ILSVRC2012_bbox_val_v3.tgz into bboxes/",
            layout: imagenet::LAYOUT,
        },
        DatasetName::Cub200 => Description {
            title: "Caltech-UCSD Birds-200-2011",
            reference: "Wah et al. 2011, Caltech technical report CNS-TR-2011-001",
            classes: Some(200),
            train_images: Some(5_994),
            test_images: Some(5_794),
            annotations: "a box an image; segmentations in an archive of their own",
            size: "1.1 GB, segmentations 38 MB",
            licence: "non-commercial research and education; images belong to their photographers",
            published: "https://www.vision.caltech.edu/datasets/cub_200_2011/",
            unpack: "CUB_200_2011.tgz; root is the folder CUB_200_2011; segmentations.tgz beside \
                     or inside it",
            layout: cub200::LAYOUT,
        },
        DatasetName::Pets => Description {
            title: "Oxford-IIIT Pet",
            reference: "Parkhi et al. 2012, doi:10.1109/CVPR.2012.6248092",
            classes: Some(37),
            train_images: Some(3_680),
            test_images: Some(3_669),
            annotations: "a trimap an image, head boxes of most training images",
            size: "755 MB images, 19 MB annotations",
            licence: "CC BY-SA 4.0",
            published: "https://www.robots.ox.ac.uk/~vgg/data/pets/",
            unpack: "images.tar.gz and annotations.tar.gz, both into the root",
            layout: pets::LAYOUT,
        },
        DatasetName::Dogs => Description {
            title: "Stanford Dogs",
            reference: "Khosla et al. 2011, Novel Dataset for Fine-Grained Image Categorization",
            classes: Some(120),
            train_images: Some(12_000),
            test_images: Some(8_580),
            annotations: "boxes of every dog",
            size: "757 MB images, 21 MB annotations, 0.5 MB lists",
            licence: "that of ImageNet: non-commercial research and education",
            published: "http://vision.stanford.edu/aditya86/ImageNetDogs/",
            unpack: "images.tar, annotation.tar and lists.tar, all into the root",
            layout: dogs::LAYOUT,
        },
        DatasetName::Folder => Description {
            title: "your own images",
            reference: "none",
            classes: None,
            train_images: None,
            test_images: None,
            annotations: "optional masks (any value but 0 is foreground) and boxes (boxes.csv with \
                          the header image,x0,y0,x1,y1; paths from the root, edges in pixels)",
            size: "as you like",
            licence: "yours",
            published: "nowhere",
            unpack: "nothing; one folder a split, in it one folder a class",
            layout: folder::LAYOUT,
        },
        DatasetName::Synthetic => {
            let SyntheticOptions { train_images, test_images, .. } = SyntheticOptions::default();
            Description {
                title: "synthetic: textured objects on textured backgrounds",
                reference: "none",
                classes: Some(synthetic::CLASSES),
                train_images: Some(train_images),
                test_images: Some(test_images),
                annotations: "exact masks and boxes",
                size: "nothing: generated from data.synthetic.seed",
                licence: "that of this software",
                published: "built in",
                unpack: "nothing",
                layout: "no root",
            }
        }
    }
}
