"""Models of images."""

from families.family import Family, labels

FAMILIES = {
    "vit": Family(
        {
            "hidden_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 40,
            "image_size": 30,
            "patch_size": 6,
        },
        {"ViTForImageClassification": labels(3)},
    ),
}
