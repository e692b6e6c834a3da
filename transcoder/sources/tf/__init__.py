"""TensorFlow's own containers: bundles (TensorFlow 2 and TF1 V2), V1 checkpoints, SavedModels."""
