"""TensorFlow, Keras 2, PyTorch and transformers 4, imported behind the settings that they read when imported.

Import them from here. Only the reference environment has all of them.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"  # transformers 4 is written for Keras 2
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TRANSFORMERS_VERBOSITY"] = "error"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import tensorflow as tf
import tf_keras
import torch
import transformers
from transformers.modeling_tf_pytorch_utils import load_tf2_checkpoint_in_pytorch_model

__all__ = ["load_tf2_checkpoint_in_pytorch_model", "tf", "tf_keras", "torch", "transformers"]
