"""A model repository of the Hugging Face Hub: config.json, card, small files, and what transformers makes of them."""
