"""Containers of plain arrays: NumPy files and archives, OpenAI's first GPT, safetensors in TensorFlow layout."""
