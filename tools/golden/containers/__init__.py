"""Makes tests/golden/containers: a case for each way in which TensorFlow or Keras saves variables."""
