"""Converts models and compares the results with those of TensorFlow, Keras and transformers 4."""
