"""Makes tests/golden: what TensorFlow, Keras and transformers 4 write, and what they read of it."""
