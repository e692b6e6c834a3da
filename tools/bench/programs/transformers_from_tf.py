"""Convert a directory with transformers 4: transformers_from_tf.py SRC OUT

This is what from_pretrained(from_tf=True) does. In 4.57 that call fails: it builds the model on the wrong device.
"""

import os
import sys

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import transformers
from transformers.modeling_tf_pytorch_utils import load_tf2_checkpoint_in_pytorch_model

model = transformers.RobertaModel(transformers.AutoConfig.from_pretrained(sys.argv[1]))
model = load_tf2_checkpoint_in_pytorch_model(model, sys.argv[1] + "/tf_model.h5", allow_missing_keys=True)
model.save_pretrained(sys.argv[2])
