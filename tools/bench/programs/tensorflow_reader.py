"""Convert a checkpoint with TensorFlow's reader: tensorflow_reader.py PREFIX OUT"""

import os
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
from safetensors.numpy import save_file

reader = tf.train.load_checkpoint(sys.argv[1])
tensors = {}
for name in reader.get_variable_to_shape_map():
    values = reader.get_tensor(name)
    tensors[name] = np.ascontiguousarray(values.T) if name.endswith("kernel") else values
save_file(tensors, sys.argv[2], {"format": "pt"})
