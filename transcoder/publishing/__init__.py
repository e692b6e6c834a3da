"""Publishing to the Hugging Face Hub: evidence, card, checks, uploads, one commit."""
